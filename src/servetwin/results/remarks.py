"""What a reader of the figures would otherwise miss, in sentences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from servetwin.types import RequestTable, RunResult, Status
from servetwin.units import NOT_YET, PS_PER_S

__all__ = ["is_overloaded", "remarks"]

KEEPS_UP = 0.9
"""Share of the run during which requests arrive, from which on the last ones cause the rest."""

GROWTH = 2.0
"""Median TTFT of the last third over that of the first, from which on the queue grows.

At loads that last, both thirds differ by chance and by the drift of the trace: factors up to
1.6 were seen with 100 requests, up to 1.5 with 10,000.
"""

FEWEST = 30
"""Requests in a trace whose thirds are compared."""


def remarks(run: RunResult, metrics: dict[str, Any]) -> Iterator[str]:
    """Yield a sentence for each thing that makes the metrics of `run` easy to misread."""
    lost = {name: metrics[name] for name in ("rejected", "failed", "unfinished")}
    if told := ", ".join(f"{count:,} {name}" for name, count in lost.items() if count):
        yield f"Latencies leave out requests that did not complete: {told}."
    arrival = _open_arrivals(run)
    if arrival.size > 1 and arrival.min() == arrival.max():
        yield (
            f"All {arrival.size:,} requests arrive at once: queue time, TTFT and E2E depend on "
            "how many they are."
        )
    elif is_overloaded(run, metrics):
        offered = (arrival.size - 1) / (int(arrival.max() - arrival.min()) / PS_PER_S)
        done = metrics["request_throughput_req_s"]
        yield (
            f"Overload: {offered:.3g} requests/s arrive and {done:.3g} complete. The queue grows "
            "as long as they arrive, so that latencies depend on the length of the trace."
        )


def is_overloaded(run: RunResult, metrics: dict[str, Any]) -> bool:
    """Whether requests arrive over time, and faster than they complete; not for outages."""
    if run.failures is not None:
        return False
    arrival = _open_arrivals(run)
    if arrival.size < 2 or arrival.min() == arrival.max():
        return False
    span = int(arrival.max() - arrival.min()) / PS_PER_S
    return bool(span < KEEPS_UP * (metrics["makespan_s"] or 0)) and _grows(run.requests)


def _open_arrivals(run: RunResult) -> NDArray[np.int64]:
    """Return the arrivals; none for a closed loop, which sets its own pace."""
    arrival = run.requests.arrival
    return arrival[:0] if run.workload.get("follow_ups") else arrival[arrival != NOT_YET]


def _grows(table: RequestTable) -> bool:
    """Whether requests that come late wait much longer than those that came early."""
    third = len(table) // 3
    if len(table) < FEWEST:
        return False
    early = _ttft(table, slice(0, third))
    late = _ttft(table, slice(len(table) - third, len(table)))
    if not early.size or not late.size:
        return False
    return bool(np.median(late) >= GROWTH * np.median(early))


def _ttft(table: RequestTable, rows: slice) -> NDArray[np.int64]:
    done = (table.status[rows] == Status.OK) & (table.first_token[rows] != NOT_YET)
    return np.asarray((table.first_token[rows] - table.arrival[rows])[done])
