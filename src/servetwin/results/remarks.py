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

STILL = 1.25
"""The same of the last third over the middle one, where fewer than `KEEPS_UP` is to be explained:
a queue that grows evenly makes it 1.7, one that has found its length 1."""

BY_CHANCE = 2.0
"""Requests without a first token when the last one arrives, over the root of their number: where
as many could be served as come, chance makes it 0.8 on average, and more than 2 once in 20."""

FEWEST = 30
"""Requests in a trace whose thirds are compared."""


def remarks(run: RunResult, metrics: dict[str, Any]) -> Iterator[str]:
    """Yield a sentence for each thing that makes the metrics of `run` easy to misread."""
    lost = {name: metrics[name] for name in ("rejected", "failed", "unfinished")}
    if metrics["rejected"] and (why := _too_long(run)):
        yield why
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
    first, middle, last = _medians(run.requests)
    if not last >= GROWTH * first:
        return False
    if span < KEEPS_UP * (metrics["makespan_s"] or 0):
        return True
    # A long trace that is overloaded by a few per cent ends soon after its last arrival.
    return last >= STILL * middle and _left(run.requests) > BY_CHANCE * np.sqrt(arrival.size)


def _too_long(run: RunResult) -> str:
    """Say that requests exceed what the engine accepts, where that is known."""
    most = run.config.get("max_model_len")
    table = run.requests
    rejected = table.status == Status.REJECTED
    lengths = (table.input_tokens.astype(np.int64) + table.output_tokens)[rejected]
    if not isinstance(most, int) or not lengths.size or lengths.min() <= most:
        return ""
    longest = f"{lengths.min():,}"
    if lengths.min() != lengths.max():
        longest = f"{lengths.min():,} to {lengths.max():,}"
    count = "All" if rejected.all() else "Some"
    return (
        f"{count} {lengths.size:,} requests are rejected: they are {longest} tokens long, and the "
        f"engine accepts {most:,} (max-model-len)."
    )


def _open_arrivals(run: RunResult) -> NDArray[np.int64]:
    """Return the arrivals; none for a closed loop, which sets its own pace."""
    arrival = run.requests.arrival
    return arrival[:0] if run.workload.get("follow_ups") else arrival[arrival != NOT_YET]


def _medians(table: RequestTable) -> tuple[float, ...]:
    """Median TTFT of each third of the requests; NaN where there are too few to tell."""
    if len(table) < FEWEST:
        return (np.nan,) * 3
    third = len(table) // 3
    starts = (0, third, len(table) - third)
    found = [_ttft(table, slice(start, start + third)) for start in starts]
    return tuple(float(np.median(values)) if values.size else np.nan for values in found)


def _left(table: RequestTable) -> int:
    """Requests that complete, but have no first token when the last one arrives."""
    done = (table.status == Status.OK) & (table.first_token != NOT_YET)
    return int((done & (table.first_token > table.arrival.max())).sum())


def _ttft(table: RequestTable, rows: slice) -> NDArray[np.int64]:
    done = (table.status[rows] == Status.OK) & (table.first_token[rows] != NOT_YET)
    return np.asarray((table.first_token[rows] - table.arrival[rows])[done])
