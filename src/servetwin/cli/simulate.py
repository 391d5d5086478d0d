"""`servetwin simulate`: a workload on a deployment, once or over a range of rates."""

from __future__ import annotations

import json as json_text
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from servetwin.cli.console import command_line, progress, stdout, warn
from servetwin.cli.interrupts import at_once, in_thread
from servetwin.cli.options import PanelCommand, takes_settings
from servetwin.errors import InputError

if TYPE_CHECKING:
    from servetwin.cli.build import Prepared
    from servetwin.cli.settings import RunSettings
    from servetwin.results import Slo
    from servetwin.sim import SimOptions
    from servetwin.types import RunResult

app = typer.Typer(add_completion=False, rich_markup_mode=None)

PANELS = ("Deployment", "Engine", "Workload", "Simulation", "Output")

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
        from servetwin.report import print_summary
        from servetwin.results import summary, write_run

        slo, energy = slo_of(settings), energy_options(settings)
        prepared = prepare(settings)
    run = with_energy(_run(prepared, settings, notes), prepared, energy)
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

    from servetwin.sim import simulate as run_simulation

    with progress("Simulating", len(prepared.workload)) as (tell, say):
        options = replace(sim_options(settings), progress=tell, say=say)
        target = (prepared.deployment, prepared.workload, prepared.cost)
        run = in_thread(lambda: run_simulation(*target, options))
    return replace(
        run,
        config=prepared.config,
        provenance={**run.provenance, "command": command_line()},
        notes=(*run.notes, *prepared.notes, *notes),
    )


def sim_options(settings: RunSettings) -> SimOptions:
    """Take from the settings how to simulate."""
    from servetwin.sim import SimOptions
    from servetwin.units import ps_from_seconds
    from servetwin.workload.notation import parse_duration

    try:
        seconds = parse_duration(settings.snapshot_interval)
        interval = int(ps_from_seconds(seconds))
        if seconds and not interval:
            raise ValueError("shorter than the clock's step")
        return SimOptions(
            seed=settings.seed,
            snapshot_interval=interval,
            engine="reference" if settings.reference else "kernel",
        )
    except (ValueError, InputError):
        raise InputError(
            f"--snapshot-interval {settings.snapshot_interval}: write 100ms, 1s, 5m, or 0s for none"
        ) from None


def slo_of(settings: RunSettings) -> Slo | None:
    """Read the objectives, if there are any."""
    from servetwin.results import parse_slo

    if settings.slo is None:
        return None
    return parse_slo(",".join(f"{name}={limit}" for name, limit in settings.slo.items()))


def _report_writer(run: RunResult, slo: Slo | None) -> Any:
    from servetwin.report.html import write_report

    return lambda path: write_report(run, path, slo)
