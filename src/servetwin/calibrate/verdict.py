"""How close a simulated run is to the limit of its deployment, in a word."""

from __future__ import annotations

from typing import Any

from servetwin.calibrate.error_bars import Rerun
from servetwin.results.latencies import latencies_ps
from servetwin.results.metrics import makespan_ps
from servetwin.results.remarks import is_overloaded
from servetwin.types import RunResult, Status
from servetwin.units import NOT_YET, PS_PER_S

__all__ = ["COMFORTABLE", "NEAR", "SATURATED", "verdict"]

COMFORTABLE, NEAR, SATURATED = "comfortable", "near the knee", "saturated"

STEEP = 2.0
"""Per cent by which mean E2E or TTFT grows for each per cent of longer iterations, from which
on a load is near the knee. Without queues E2E grows by one, and by a little more where longer
iterations mean larger batches."""

WAITING = 0.2
"""Share of E2E in the queue, from which on a closed loop or a batch is limited by capacity."""


FEWEST = 0.5
"""Share of requests that complete, below which a run says nothing about the load."""


def verdict(run: RunResult, slow: Rerun) -> dict[str, Any] | None:
    """Return `metrics.verdict` of the summary: the word, and a sentence that says why.

    None where fewer than half of the requests complete: most were rejected then.
    """
    done = int((run.requests.status == Status.OK).sum())
    if done < FEWEST * len(run.requests):
        return None
    if _overloaded(run):
        return _stated(SATURATED, "requests arrive faster than they complete")
    waiting = _seconds(run, "queue") / max(_seconds(run, "e2e"), 1e-12)
    if not _open(run):
        if waiting >= WAITING:
            why = f"{100 * waiting:.0f} % of E2E is spent in the queue, whenever requests come"
            return _stated(SATURATED, why)
        return _stated(COMFORTABLE, f"{100 * waiting:.0f} % of E2E is spent in the queue")
    if _overloaded(slow.run):
        slower = 100 * (slow.factor - 1)
        return _stated(NEAR, f"with {slower:.0f} % longer iterations the queue grows without end")
    steepest, name = max((_steepness(run, slow, name), name) for name in ("ttft", "e2e"))
    told = f"{name.upper()} grows by {steepest:.1f} % for each 1 % of longer iterations"
    return _stated(NEAR if steepest >= STEEP else COMFORTABLE, told)


def _stated(word: str, why: str) -> dict[str, Any]:
    return {"load": word, "because": why}


def _open(run: RunResult) -> bool:
    """Whether requests come over time, whatever becomes of those before."""
    arrival = run.requests.arrival[run.requests.arrival != NOT_YET]
    return not run.workload.get("follow_ups") and bool(arrival.size and arrival.max() > 0)


def _overloaded(run: RunResult) -> bool:
    return is_overloaded(run, _rates(run))


def _rates(run: RunResult) -> dict[str, float]:
    """What `is_overloaded` reads of the metrics."""
    return {"makespan_s": makespan_ps(run.requests) / PS_PER_S}


def _seconds(run: RunResult, name: str) -> float:
    values = latencies_ps(run.requests, name)
    return float(values.mean()) / PS_PER_S if values.size else 0.0


def _steepness(run: RunResult, slow: Rerun, name: str) -> float:
    """Relative growth of a mean latency over that of the iterations."""
    before = _seconds(run, name)
    if before <= 0 or slow.factor <= 1:
        return 0.0
    return (_seconds(slow.run, name) / before - 1) / (slow.factor - 1)
