"""`servetwin simulate`: a workload on a deployment, once or over a range of rates."""

from __future__ import annotations

import json as json_text
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from servetwin.cli.console import command_line, progress, stdout, warn
from servetwin.cli.interrupts import at_once, in_thread
from servetwin.cli.options import PanelCommand, takes_settings

if TYPE_CHECKING:
    from servetwin.cli.build import Prepared
    from servetwin.cli.settings import RunSettings
    from servetwin.results import Slo
    from servetwin.sim import SimOptions
    from servetwin.types import RunResult

app = typer.Typer(add_completion=False, rich_markup_mode=None)

PANELS = ("Deployment", "Engine", "Pools", "Failures", "Workload", "Simulation", "Output")

Config = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Settings in YAML, or the summary.json of an earlier run."),
]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="One setting over those of --config."),
]


@app.command(cls=PanelCommand)
@takes_settings(*PANELS)
def simulate(
    config: Config = None,
    set_: Assignments = None,
    json: Annotated[bool, typer.Option("--json", help="Print summary.json, alone.")] = False,
    **flags: Any,
) -> None:
    """Simulate a workload on a deployment.

    \b
    servetwin simulate --model meta-llama/Llama-3.1-8B --gpu A100-80GB \\
        --workload azure-conv --out out/first
    """
    with at_once():
        from servetwin.cli.layers import load_settings
        from servetwin.cli.output_folder import output_folder

        loaded = load_settings(flags, config, set_ or ())
        notes: tuple[str, ...] = ()
        if loaded.unknown:
            notes = (f"engine options without effect here: {', '.join(loaded.unknown)}",)
            warn(notes[0])
        settings = loaded.settings
        out = output_folder(settings)
    if settings.sweep_rps is not None:
        with at_once():
            from servetwin.cli.sweep import sweep
        sweep(settings, out, notes, json)
    else:
        _simulate_once(settings, out, notes, json)


def _simulate_once(
    settings: RunSettings, out: Path | None, notes: tuple[str, ...], as_json: bool
) -> None:
    with at_once():
        from servetwin.cli.build import prepare
        from servetwin.cli.energy import energy_options, with_energy
        from servetwin.cli.intervals import with_intervals
        from servetwin.report import print_summary
        from servetwin.results import summary, write_run

        slo, energy = slo_of(settings), energy_options(settings)
        prepared = prepare(settings)
    run = with_energy(_run(prepared, settings, notes), prepared, energy)
    run = with_intervals(run, prepared, settings)
    if out is None:
        content = summary(run, slo)
    else:
        extra = {"report.html": _report_writer(run, slo)} if settings.report else {}
        content = write_run(run, out, slo=slo, chrome_trace=settings.chrome_trace, extra=extra)
    if as_json:
        print(json_text.dumps(content, indent=2))
        return
    print_summary(content, stdout())
    if out is not None:
        stdout().print(f"\nWritten to {out}/", markup=False)


def _run(prepared: Prepared, settings: RunSettings, notes: tuple[str, ...]) -> RunResult:
    from dataclasses import replace

    from servetwin.cli.timeline import default_interval, interval_asked

    interval = interval_asked(settings)
    usual = default_interval(prepared.workload, prepared.deployment.engines)
    options = sim_options(settings, usual if interval is None else interval)
    with progress("Simulating", len(prepared.workload)) as (tell, say):
        options = replace(options, progress=tell, say=say)
        run = in_thread(lambda: _simulated(prepared, options, retry=interval is None))
    return replace(
        run,
        config=prepared.config,
        provenance={**run.provenance, "command": command_line()},
        notes=(*run.notes, *prepared.notes, *notes, *_coarser(run, interval)),
    )


def _simulated(prepared: Prepared, options: SimOptions, retry: bool) -> RunResult:
    """Simulate; once more, with fewer rows, where the run outlasts a timeline nobody asked for."""
    from dataclasses import replace

    from servetwin.cli.timeline import lasting_interval, written
    from servetwin.sim import simulate as run_simulation
    from servetwin.sim.inputs import TooManyRowsError

    target = (prepared.deployment, prepared.workload, prepared.cost)
    try:
        return run_simulation(*target, options)
    except TooManyRowsError:
        if not retry:
            raise
    from servetwin.sim.kernel.snapshot_rows import MOST_SNAPSHOTS

    interval = lasting_interval(MOST_SNAPSHOTS, prepared.deployment.engines)
    options.say(f"a long run: once more, with a timeline every {written(interval)}")
    return run_simulation(*target, replace(options, snapshot_interval=interval))


def _coarser(run: RunResult, asked: int | None) -> tuple[str, ...]:
    """Say so where the timeline has fewer rows than it has by default."""
    from servetwin.cli.timeline import USUAL, written

    if asked is not None or run.timeline is None or run.timeline.interval == USUAL:
        return ()
    every = written(run.timeline.interval)
    return (f"a long run: its timeline has a row every {every} instead of {written(USUAL)}",)


def sim_options(settings: RunSettings, interval: int) -> SimOptions:
    """Take from the settings how to simulate, with rows of the timeline `interval` ps apart."""
    from servetwin.sim import SimOptions

    engine = "reference" if settings.reference else "kernel"
    return SimOptions(seed=settings.seed, snapshot_interval=interval, engine=engine)


def slo_of(settings: RunSettings) -> Slo | None:
    """Read the objectives, if there are any."""
    from servetwin.results import parse_slo

    if settings.slo is None:
        return None
    return parse_slo(",".join(f"{name}={limit}" for name, limit in settings.slo.items()))


def _report_writer(run: RunResult, slo: Slo | None) -> Any:
    from servetwin.report.html import write_report

    return lambda path: write_report(run, path, slo)
