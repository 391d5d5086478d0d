"""`servetwin simulate --sweep-rps`: the load curve as a table, a verdict and files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import typer

from servetwin.cli.build import Prepared, prepare
from servetwin.cli.build_workload import build_workload
from servetwin.cli.console import command_line, progress, stdout
from servetwin.cli.interrupts import INTERRUPTED, at_once
from servetwin.cli.settings import RunSettings
from servetwin.cli.simulate import sim_options, slo_of
from servetwin.errors import InputError
from servetwin.report import print_load_curve
from servetwin.studies.load_curve import NAMES, LoadCurve, Setup, describe, measure, write_curve
from servetwin.types import Workload
from servetwin.workload import summarize

__all__ = ["sweep"]


def sweep(settings: RunSettings, out: Path | None, notes: tuple[str, ...], as_json: bool) -> None:
    """Simulate at every rate of `sweep_rps`, and tell. After Ctrl-C, tell what has finished."""
    if settings.arrivals is not None and settings.arrivals.startswith(("closed", "once")):
        raise InputError(
            f"--sweep-rps: arrivals {settings.arrivals!r} set their own rate; sweep an open "
            "process such as poisson"
        )
    with at_once():
        lowest = min(settings.sweep_rps or [])
        prepared = prepare(settings.model_copy(update={"rps": lowest}))
    curve = _measure(settings, prepared)
    content = describe(
        curve,
        {
            "provenance": {"command": command_line()},
            "config": {**prepared.config, "rps": None},
            "workload": {**summarize(prepared.workload), "rps": None, "span_s": None},
            "notes": (*prepared.notes, *notes),
        },
    )
    if out is not None:
        write_curve(curve, content, out, page=settings.report)
    if as_json:
        print(json.dumps(content, indent=2))
    else:
        print_load_curve(content, stdout())
        if out is not None:
            names = [name for name in NAMES if settings.report or not name.endswith(".html")]
            stdout().print(f"\nWritten to {out}/: {', '.join(names)}", markup=False)
    if curve.missing:
        raise typer.Exit(INTERRUPTED)


def _measure(settings: RunSettings, prepared: Prepared) -> LoadCurve:
    rates = settings.sweep_rps or []

    def workload_at(rate: float) -> Workload:
        return build_workload(settings.model_copy(update={"rps": rate}))

    with progress("Simulating rates", len(set(rates))) as (tell, say):
        options = replace(sim_options(settings, interval=0), say=say)
        setup = Setup(prepared.deployment, prepared.cost, workload_at, options, slo_of(settings))
        return measure(setup, rates, tell)
