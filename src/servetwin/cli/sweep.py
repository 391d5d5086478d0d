"""`servetwin simulate --sweep-rps`: the load curve as a table, a verdict and files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from servetwin import __version__
from servetwin.cli.build import Prepared, prepare
from servetwin.cli.build_workload import build_workload
from servetwin.cli.console import command_line, progress, stdout
from servetwin.cli.interrupts import INTERRUPTED, at_once
from servetwin.cli.settings import RunSettings
from servetwin.cli.simulate import sim_options, slo_of
from servetwin.errors import InputError
from servetwin.studies.load_curve import LATENCY_LIMIT, LoadCurve, Setup, describe, measure
from servetwin.studies.load_curve import write_curve as write_files
from servetwin.types import Workload

if TYPE_CHECKING:
    from rich.table import Table

    from servetwin.results import LoadPoint

__all__ = ["sweep"]


def sweep(settings: RunSettings, out: Path | None, notes: tuple[str, ...], as_json: bool) -> None:
    """Simulate at every rate of `sweep_rps`; `rps` itself is not used."""
    rates = settings.sweep_rps or []
    if settings.arrivals is not None and settings.arrivals.startswith(("closed", "once")):
        raise InputError(
            f"--sweep-rps: arrivals {settings.arrivals!r} set their own rate; sweep an open "
            "process such as poisson"
        )

    def workload_at(rate: float) -> Workload:
        return build_workload(settings.model_copy(update={"rps": rate}))

    with at_once():
        prepared = prepare(settings.model_copy(update={"rps": min(rates)}))
    with progress("Simulating rates", len(set(rates))) as (tell, say):
        options = replace(sim_options(settings, interval=0), say=say)
        setup = Setup(prepared.deployment, prepared.cost, workload_at, options, slo_of(settings))
        curve = measure(setup, rates, tell)
    content = describe(curve, {**prepared.config, "rps": None})
    cost = prepared.cost
    content["provenance"] = {
        "servetwin": __version__,
        "seed": settings.seed,
        "command": command_line(),
        "cost_model": {"level": cost.level, "source": cost.source},
    }
    content["notes"] = [*cost.notes, *prepared.notes, *notes, *_missing(curve)]
    if out is not None:
        write_files(curve, content, out)
    if as_json:
        print(json.dumps(content, indent=2))
    else:
        _print(curve, prepared, content["notes"])
        if out is not None:
            files = "load_curve.png, .html, .csv and .json"
            stdout().print(f"\nWritten to {out}/: {files}", markup=False)
    if curve.missing:
        raise typer.Exit(INTERRUPTED)


def _missing(curve: LoadCurve) -> list[str]:
    if not curve.missing:
        return []
    found, wanted = len(curve.points), len(curve.points) + len(curve.missing)
    rates = ", ".join(f"{rate:g}" for rate in curve.missing)
    return [
        f"interrupted: {found} of {wanted} rates were simulated; {rates} requests/s are missing"
    ]


def _print(curve: LoadCurve, prepared: Prepared, notes: list[str]) -> None:
    console, deployment, cost = stdout(), prepared.deployment, prepared.cost
    title = f"{deployment.model.name} on {deployment.devices} x {deployment.accelerator.name}"
    console.print(f"{title}, {prepared.workload.name}, simulated\n", style="bold", markup=False)
    console.print(_table(curve))
    console.print()
    for line in verdict(curve):
        console.print(line, markup=False)
    console.print(f"Costs: {cost.level}: {cost.source}", markup=False)
    for note in notes:
        console.print(f"Note: {note}", style="yellow", markup=False)


def _table(curve: LoadCurve) -> Table:
    from rich.table import Table

    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="bold")
    heads = ["offered\nreq/s", "done\nreq/s", "output\ntoken/s", "TTFT\np50 ms", "\np99 ms"]
    heads += ["TPOT\np50 ms", "\np99 ms", "E2E\np99 s"]
    if with_slo := any(point.goodput_rps is not None for point in curve.points):
        heads.append("in SLO\nreq/s")
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for point in curve.points:
        values = [point.completed_rps, point.throughput_token_s, point.ttft_p50_ms]
        values += [point.ttft_p99_ms, point.tpot_p50_ms, point.tpot_p99_ms, point.e2e_p99_s]
        if with_slo:
            values.append(point.goodput_rps)
        table.add_row(f"{point.offered_rps:g}", *map(_figure, values))
    return table


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def verdict(curve: LoadCurve) -> list[str]:
    """Say in two or three lines what the curve shows."""
    lines = []
    knee, base, limit = curve.knee, curve.base, curve.limit
    if knee is not None:
        where = ", the highest rate tried" if knee == curve.points[-1] else ""
        lines.append(f"Knee: {knee.offered_rps:g} requests/s (most throughput per latency){where}.")
    percent = f"{LATENCY_LIMIT - 1:.0%}"
    if base is None:
        lines.append("Limit: unknown; no rate completed 100 requests (--requests gives more).")
    elif limit is None:
        lines.append(
            f"Limit: not reached; P99 stays within {percent} of that at {base.offered_rps:g}/s."
        )
    else:
        lines.append(
            f"Limit: at {limit.offered_rps:g} requests/s P99 TTFT or E2E is more than {percent} "
            f"above that at {base.offered_rps:g}/s."
        )
    within = [point for point in curve.points if point.meets_slo]
    if any(point.meets_slo is not None for point in curve.points):
        lines.append(_slo_line(within))
    return lines


def _slo_line(within: list[LoadPoint]) -> str:
    if not within:
        return "SLO: met at none of these rates."
    return f"SLO: met up to {max(point.offered_rps for point in within):g} requests/s."
