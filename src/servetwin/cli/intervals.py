"""Intervals, verdict and nearest measurement: two more simulations after the run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from servetwin.cli.interrupts import in_thread

if TYPE_CHECKING:
    from servetwin.cli.build import Prepared
    from servetwin.cli.settings import RunSettings
    from servetwin.types import CostModel, RunResult

__all__ = ["MOST_REQUESTS", "with_intervals"]

MOST_REQUESTS = 2_000_000
"""Requests above which the two simulations would take longer than people want to wait."""


def with_intervals(run: RunResult, prepared: Prepared, settings: RunSettings) -> RunResult:
    """Add intervals and a verdict to the metrics, and evidence to the provenance."""
    if not settings.intervals:
        return run
    if prepared.deployment.failures is not None:
        note = "no intervals: what an outage does to a run is not what slower iterations do"
        return replace(run, notes=(*run.notes, note))
    if len(prepared.workload) > MOST_REQUESTS:
        most = f"{MOST_REQUESTS:,} requests"
        note = f"no intervals: they take two more simulations, which are made up to {most}"
        return replace(run, notes=(*run.notes, note))
    return in_thread(lambda: _added(run, prepared, settings.reference))


def _added(run: RunResult, prepared: Prepared, reference: bool) -> RunResult:
    from servetwin.calibrate.error_bars import around, reruns
    from servetwin.calibrate.evidence import left_out, nearest, subject_of
    from servetwin.calibrate.residuals import widest_class
    from servetwin.calibrate.verdict import verdict
    from servetwin.sim import SimOptions, simulate

    deployment, cost = prepared.deployment, prepared.cost
    level = cost.level
    kinds = zip(deployment.kinds, cost.kinds, strict=True)
    known = widest_class((own.level, kind.accelerator) for kind, own in kinds)
    options = SimOptions(
        seed=run.provenance["seed"],
        snapshot_interval=0,
        engine="reference" if reference else "kernel",
        token_gaps=False,
    )

    def again(paced: CostModel) -> RunResult:
        return simulate(deployment, prepared.workload, paced, options)

    fast, slow = reruns(again, cost, known.bands.pace)
    bands = {name: [band.low, band.high] for name, band in vars(known.bands).items()}
    subject = subject_of(deployment, level)
    near = nearest(subject)
    if near is not None and deployment.decode is not None:
        near["differs"].append("one pool of engines instead of two")
    if near is not None and deployment.also:
        near["differs"].append("replicas of one kind")
    evidence: dict[str, Any] = {
        "class": known.name,
        "points": known.points,
        "groups": known.groups,
        "coverage": known.coverage,
        "measured_over_predicted": bands,
        "nearest": near,
    }
    return replace(
        run,
        error_bars={
            "intervals": around(run, fast, slow, known.bands),
            "verdict": verdict(run, slow),
        },
        provenance={**run.provenance, "evidence": evidence},
        notes=(*run.notes, *left_out(subject)),
    )
