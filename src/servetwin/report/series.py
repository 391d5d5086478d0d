"""Runs of any size, reduced to the few hundred points that a chart can show."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from servetwin.results.latencies import chunks, completed, latencies_ps
from servetwin.types import RequestTable, Timeline
from servetwin.units import PS_PER_S

__all__ = [
    "BINS",
    "States",
    "cdf",
    "in_flight",
    "latency_over_time",
    "only",
    "shares_of_parts",
    "states",
]

BINS = 160
"""Most points in a series over time."""

REQUESTS_PER_BIN = 25
"""Fewest requests, on average, that a bin's percentiles are taken over."""

SHARES = np.unique(np.concatenate((np.linspace(0, 1, 301), 1 - np.geomspace(1e-2, 1e-5, 60))))
"""Shares of the requests at which a distribution is drawn; more of them in the tail."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class States:
    """Totals over all replicas, by time in seconds; means over each bin."""

    t: Floats
    running: Floats
    waiting: Floats
    kv_blocks: Floats
    kv_blocks_fullest: Floats
    """Blocks of the replica that holds most."""
    prefill_rate: Floats
    """Tokens per second."""
    decode_rate: Floats
    watts: Floats | None
    """None where the timeline has none."""
    replicas: int


def cdf(table: RequestTable, name: str) -> tuple[Floats, Floats]:
    """Return latencies in seconds, increasing, and the share of requests at most that long.

    Latencies of zero are left out, since a logarithmic axis cannot show them; the first
    share then says how many there are.
    """
    values = latencies_ps(table, name)
    if values.size == 0:
        return np.empty(0), np.empty(0)
    values.sort()
    ranks = np.unique(np.ceil(SHARES * (values.size - 1)).astype(np.int64))
    x, share = values[ranks] / PS_PER_S, (ranks + 1) / values.size
    last_of_equals = np.append(x[1:] != x[:-1], True)
    keep = (x > 0) & last_of_equals
    return x[keep], share[keep]


def latency_over_time(table: RequestTable, name: str, bins: int = BINS) -> dict[str, Floats]:
    """Return `t`, `p50` and `p99` in seconds, of the requests that arrived in each bin."""
    values = latencies_ps(table, name)
    if values.size == 0:
        return {"t": np.empty(0), "p50": np.empty(0), "p99": np.empty(0)}
    bin_, edges = _bins_of_arrival(table, name, bins)
    if np.any(bin_[1:] < bin_[:-1]):
        values = values[np.argsort(bin_, kind="stable")]
    sizes = np.bincount(bin_, minlength=edges.size - 1)
    ends = np.cumsum(sizes)
    filled = np.flatnonzero(sizes)
    parts = (values[ends[b] - sizes[b] : ends[b]] for b in filled)
    p50, p99 = np.array([np.percentile(part, (50, 99)) for part in parts]).T / PS_PER_S
    return {"t": (edges[filled] + edges[filled + 1]) / 2, "p50": p50, "p99": p99}


def states(timeline: Timeline, bins: int = BINS) -> States:
    """Sum the timeline over replicas and average it over at most `bins` bins."""
    times, at = np.unique(timeline.t, return_inverse=True)
    size = max(-(-times.size // bins), 1)

    def total(column: NDArray[Any]) -> Floats:
        return np.bincount(at, weights=column, minlength=times.size).astype(np.float64)

    def mean(per_time: Floats) -> Floats:
        starts = np.arange(0, times.size, size)
        return np.asarray(np.add.reduceat(per_time, starts) / np.diff(starts, append=times.size))

    if times.size == 0:
        empty = np.empty(0)
        return States(empty, empty, empty, empty, empty, empty, empty, None, 0)
    fullest = np.zeros(times.size)
    np.maximum.at(fullest, at, timeline.kv_blocks)
    seconds = timeline.interval / PS_PER_S
    return States(
        t=mean(times / PS_PER_S),
        running=mean(total(timeline.running)),
        waiting=mean(total(timeline.waiting)),
        kv_blocks=mean(total(timeline.kv_blocks)),
        kv_blocks_fullest=mean(fullest),
        prefill_rate=mean(total(timeline.prefill_tokens)) / seconds,
        decode_rate=mean(total(timeline.decode_tokens)) / seconds,
        watts=None if timeline.power_w is None else mean(total(timeline.power_w)),
        replicas=int(np.unique(timeline.replica).size),
    )


def only(timeline: Timeline, rows: NDArray[np.bool_]) -> Timeline:
    """Keep some rows of a timeline."""
    columns = {
        field.name: getattr(timeline, field.name)[rows]
        for field in fields(timeline)
        if isinstance(getattr(timeline, field.name), np.ndarray)
    }
    return replace(timeline, **columns)


def in_flight(table: RequestTable, bins: int = BINS) -> tuple[Floats, Floats]:
    """Return times in seconds, and the requests that have arrived but not finished by then.

    For runs without a timeline. Requests that did not finish are left out.
    """
    keep = completed(table, "e2e", slice(0, len(table)))
    if not keep.any():
        return np.empty(0), np.empty(0)
    arrived, finished = np.sort(table.arrival[keep]), np.sort(table.finish[keep])
    t = np.linspace(arrived[0], finished[-1], bins)
    open_ = np.searchsorted(arrived, t, side="right") - np.searchsorted(finished, t, side="right")
    return t / PS_PER_S, open_.astype(np.float64)


def _bins_of_arrival(table: RequestTable, name: str, bins: int) -> tuple[NDArray[np.int16], Floats]:
    """Return the bin of each request that has the latency `name`, and the edges in seconds."""
    arrivals = [table.arrival[rows][completed(table, name, rows)] for rows in chunks(len(table))]
    requests = sum(part.size for part in arrivals)
    first = min(int(part.min()) for part in arrivals if part.size)
    last = max(int(part.max()) for part in arrivals if part.size)
    count = min(bins, 1 + requests // REQUESTS_PER_BIN)
    width = max(last - first, PS_PER_S) / count
    parts = [np.minimum((part - first) / width, count - 1).astype(np.int16) for part in arrivals]
    return np.concatenate(parts), (first + width * np.arange(count + 1)) / PS_PER_S


def shares_of_parts(
    timeline: Timeline, parts: dict[str, tuple[int, int]]
) -> dict[str, NDArray[np.float64]]:
    """Share of the blocks of each part that are in use, over all its replicas.

    Of each part its first replica, and the KV blocks of each of its replicas.
    """
    firsts = [first for first, _ in parts.values()]
    lines = {}
    for (name, (first, blocks)), end in zip(parts.items(), (*firsts[1:], None), strict=True):
        rows = timeline.replica >= first
        if end is not None:
            rows &= timeline.replica < end
        used = states(only(timeline, rows))
        lines[name] = used.kv_blocks / (blocks * max(used.replicas, 1))
    return lines
