"""Intervals around the figures of a simulated run.

Two sources of error are combined. The *residual* of a latency is what the simulator was off by
where somebody measured. The *capacity error* is that of the pace of iterations: near saturation
a small one moves queues a lot, so the run is simulated again with faster and slower iterations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from servetwin.cost.scaling import scaled
from servetwin.results.latencies import completed, latencies_ps
from servetwin.results.metrics import describe, makespan_ps
from servetwin.types import CostModel, RequestTable, RunResult, Status
from servetwin.units import PS_PER_MS, PS_PER_S

__all__ = ["NOMINAL", "Band", "Bands", "Rerun", "around", "reruns"]

Floats = NDArray[np.float64]
Simulation = Callable[[CostModel], RunResult]

METRICS = {
    "ttft": ("ttft_ms", PS_PER_MS),
    "tpot": ("tpot_ms", PS_PER_MS),
    "e2e": ("e2e_latency_s", PS_PER_S),
}
"""Latencies with intervals: their keys in `metrics`, and the picoseconds of their units."""

NOMINAL = 0.8
"""Share of measured values that an interval is meant to contain."""

STATISTICS = ("mean", "p50", "p90", "p95", "p99")


@dataclass(frozen=True)
class Band:
    """Measured over predicted: 80 % of measured values lie between these ratios."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.high < float("inf"):
            raise ValueError("a band needs 0 < low <= high")


@dataclass(frozen=True)
class Bands:
    """What one class of runs was off by where it was measured."""

    pace: Band
    """Measured over predicted time of an iteration: the capacity error."""
    ttft: Band
    """Of TTFT without the time in the queue."""
    tpot: Band


@dataclass(frozen=True)
class Rerun:
    """The same requests with iterations of another pace."""

    factor: float
    """By which every iteration is longer."""
    run: RunResult


def reruns(simulate: Simulation, cost: CostModel, pace: Band) -> tuple[Rerun, Rerun]:
    """Simulate with the fastest and the slowest iterations of `pace`, side by side."""
    factors = (min(pace.low, 1.0), max(pace.high, 1.0))
    with ThreadPoolExecutor(2) as pool:
        fast, slow = pool.map(lambda factor: simulate(scaled(cost, factor)), factors)
    return Rerun(factors[0], fast), Rerun(factors[1], slow)


def around(run: RunResult, fast: Rerun, slow: Rerun, bands: Bands) -> dict[str, Any]:
    """Return `metrics.intervals` of the summary: `[low, high]` for each figure.

    A latency lies between its values in both reruns, and between what it is where the time
    in the queue is that of the rerun, and the times to the first token and from there on are
    off by the residuals of TTFT and TPOT. Throughput lies between its values in the reruns.
    Figures that do not exist are None.
    """
    found: dict[str, Any] = {"nominal": NOMINAL}
    low = _Side(fast.run.requests, bands.ttft.low, bands.tpot.low, min)
    high = _Side(slow.run.requests, bands.ttft.high, bands.tpot.high, max)
    for name, (key, unit) in METRICS.items():
        ends = [side.ends(run.requests, name, unit) for side in (low, high)]
        found[key] = {s: _pair(ends[0][s], ends[1][s]) for s in STATISTICS}
    rates = [_throughput(item.requests) for item in (slow.run, run, fast.run)]
    known = [rate for rate in rates if rate is not None]
    found["throughput_token_s"] = [min(known), max(known)] if len(known) == len(rates) else None
    return found


@dataclass(frozen=True)
class _Side:
    """The lower or the upper ends of all intervals."""

    rerun: RequestTable
    first: float
    """Measured over predicted, of the time from the queue to the first token."""
    rest: float
    """The same of the time after it."""
    farther: Callable[[float, float], float]

    def ends(self, table: RequestTable, name: str, unit: int) -> Mapping[str, float | None]:
        """One end of each statistic: by residual or by rerun, whichever is farther out."""
        by_residual = describe(self._with_residuals(table, name), unit)
        by_rerun = describe(latencies_ps(self.rerun, name), unit)
        ends: dict[str, float | None] = {}
        for statistic in STATISTICS:
            one, other = by_residual[statistic], by_rerun[statistic]
            ends[statistic] = None if one is None or other is None else self.farther(one, other)
        return ends

    def _with_residuals(self, table: RequestTable, name: str) -> Floats:
        """Picoseconds of a latency of each request, with the queue of the rerun."""
        if name == "tpot":
            return latencies_ps(table, name) * self.rest
        rows = slice(0, len(table))
        keep = completed(table, name, rows) & completed(self.rerun, name, rows)
        values = (self.rerun.first_scheduled - self.rerun.arrival)[keep].astype(np.float64)
        values += self.first * (table.first_token - table.first_scheduled)[keep]
        if name == "e2e":
            values += self.rest * (table.finish - table.first_token)[keep]
        return values


def _pair(low: float | None, high: float | None) -> list[float] | None:
    return None if low is None or high is None else [low, high]


def _throughput(table: RequestTable) -> float | None:
    """Output tokens a second."""
    seconds = makespan_ps(table) / PS_PER_S
    tokens = int(table.output_tokens[table.status == Status.OK].sum(dtype=np.int64))
    return tokens / seconds if seconds > 0 else None
