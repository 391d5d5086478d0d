"""What the simulator says of a measured point."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from servetwin.calibrate.polling import simulate_polled
from servetwin.cost import derive
from servetwin.cost.energy import energy_of
from servetwin.cost.frontends import frontend_from
from servetwin.cost.profiles import Tuning, contexts_of, cost_from_profiles
from servetwin.results.gaps import percentile_from_counts
from servetwin.results.latencies import latencies_ps
from servetwin.results.metrics import makespan_ps
from servetwin.sim import SimOptions, simulate
from servetwin.studies.fidelity.points import Point
from servetwin.studies.fidelity.variants import Fits
from servetwin.types import CostModel, RunResult, Status, Workload
from servetwin.units import PS_PER_MS, PS_PER_S

__all__ = ["STATISTICS", "Prediction", "predict"]

Floats = NDArray[np.float64]

STATISTICS = {
    "mean": "mean over requests",
    "median": "median over requests",
    "each": "every request by itself",
    "gap": "median gap between tokens of one request",
    "last": "from the first arrival to the last token of all",
    "output": "output tokens a second",
    "all": "input and output tokens a second",
}
"""What a measured value may be."""

POWER_ROWS = 200
"""Intervals of a run over which power is computed."""


@dataclass(frozen=True)
class Prediction:
    """Values by metric, shaped as the point's; empty where the run was not possible."""

    values: Mapping[str, Floats]
    level: str
    rejected: int
    """Requests that the simulated engine could never run."""


def say_on_stderr(message: str) -> None:
    """Say what takes long."""
    print(message, file=sys.stderr, flush=True)


def predict(
    point: Point,
    profiles: Path,
    fits: Fits | None = None,
    say: Callable[[str], None] = say_on_stderr,
) -> Prediction:
    """Simulate the point, with costs of the level that it asks for.

    `profiles` holds kernel timings; `fits` take the place of the packaged ones.
    """
    fits = fits or Fits()
    workload = point.workload()
    cost = cost_of(point, workload, profiles, fits)
    deployment = point.deployment
    if point.behind_frontend:
        deployment = replace(deployment, frontend=frontend_from(fits.serving))
    gaps = "gap" in point.statistics.values()
    options = SimOptions(snapshot_interval=0, token_gaps=gaps, say=say)
    run, wait = simulate_polled(deployment, workload, cost, point.polled, options)
    if point.first_token_waits:
        run = _sent_by_decode_engines(run)
    rejected = int((run.requests.status != Status.OK).sum())
    if rejected:
        return Prediction({}, cost.level, rejected)
    values = {
        name: _value(run, name, point.statistics.get(name, ""))
        for name in point.measured
        if name != "energy"
    }
    if wait and "ttft" in values:
        values["ttft"] = values["ttft"] + wait / PS_PER_S
    if "energy" in point.measured:
        values["energy"] = np.array([_joules_per_token(point, workload, cost, run)])
    return Prediction(values, cost.level, 0)


def cost_of(point: Point, workload: Workload, profiles: Path, fits: Fits) -> CostModel:
    """Cost of one engine, its blocks counted for the workload's sequences."""
    lengths = workload.input_tokens.astype(np.int64) + workload.output_tokens
    typical = round(float(np.mean(workload.input_tokens + workload.output_tokens / 2)))
    if not point.profiles:
        curves = fits.curves(point.deployment.accelerator.name, point.host)
        return derive(point.deployment, typical, lengths, curves)
    contexts = contexts_of(workload.input_tokens, workload.output_tokens)
    return cost_from_profiles(
        point.deployment,
        profiles / point.profiles,
        typical,
        lengths=lengths,
        tuning=Tuning(contexts=contexts),
    )


def _sent_by_decode_engines(run: RunResult) -> RunResult:
    """The first token is seen when the decode engine plans the second."""
    table = run.requests
    assert table.handover is not None
    return replace(run, requests=replace(table, first_token=table.first_token + table.handover))


def _value(run: RunResult, metric: str, statistic: str) -> Floats:
    table = run.requests
    if metric == "throughput":
        tokens = float(table.output_tokens.sum())
        if statistic == "all":
            tokens += float(table.input_tokens.sum())
        return np.array([tokens / (makespan_ps(table) / PS_PER_S)])
    if statistic == "last":
        return np.array([makespan_ps(table) / PS_PER_S])
    if statistic == "gap":
        assert run.token_gaps is not None
        return np.array([percentile_from_counts(run.token_gaps.counts, 50) / PS_PER_S])
    seconds = latencies_ps(table, metric) / PS_PER_S
    if statistic == "each":
        return np.asarray(seconds)
    middle = np.median if statistic == "median" else np.mean
    return np.array([middle(seconds)])


def _joules_per_token(point: Point, workload: Workload, cost: CostModel, run: RunResult) -> float:
    """Joules of all devices for each output token, from the power over a timeline."""
    interval = max(PS_PER_MS, makespan_ps(run.requests) // POWER_ROWS)
    options = SimOptions(snapshot_interval=interval, token_gaps=False, say=lambda text: None)  # noqa: ARG005
    report = energy_of(simulate(point.deployment, workload, cost, options), point.deployment, cost)
    return report.joules / report.output_tokens
