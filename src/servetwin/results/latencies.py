"""Latency columns of a request table: which two times a latency lies between."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from servetwin.types import RequestTable, Status
from servetwin.units import NOT_YET

__all__ = [
    "LATENCIES",
    "Latency",
    "chunks",
    "completed",
    "latencies_of",
    "latencies_ps",
    "tpot_parts",
]

CHUNK = 1 << 18
"""Rows handled at once, so that temporaries stay in the processor's cache."""


class Latency(NamedTuple):
    """A latency from the time in column `start` to the time in column `end`."""

    start: str
    end: str
    per_token: bool = False
    """Divided by the output tokens after the first; requests without any are left out."""


LATENCIES = {
    "ttft": Latency("arrival", "first_token"),
    "tpot": Latency("first_token", "finish", per_token=True),
    "queue": Latency("arrival", "first_scheduled"),
    "e2e": Latency("arrival", "finish"),
}


def chunks(rows: int) -> Iterator[slice]:
    """Yield slices that cover `rows` rows in order."""
    for start in range(0, rows, CHUNK):
        yield slice(start, min(start + CHUNK, rows))


def completed(table: RequestTable, name: str, rows: slice) -> NDArray[np.bool_]:
    """Mark, within `rows`, the completed requests for which the latency `name` is defined."""
    latency = LATENCIES[name]
    keep = np.asarray(table.status[rows] == Status.OK)
    for column in (latency.start, latency.end):
        keep &= getattr(table, column)[rows] != NOT_YET
    if latency.per_token:
        keep &= table.output_tokens[rows] > 1
    return keep


def latencies_ps(
    table: RequestTable, name: str, out: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Return one latency of every completed request that has it, in picoseconds.

    `name` is a key of `LATENCIES`. The values fill the front of `out` (float64, at least
    one entry for each request), and a view of that part is returned.
    """
    latency = LATENCIES[name]
    start, end = getattr(table, latency.start), getattr(table, latency.end)
    values = np.empty(len(table)) if out is None else out
    count = 0
    for rows in chunks(len(table)):
        keep = completed(table, name, rows)
        part = (end[rows] - start[rows])[keep].astype(np.float64)
        if latency.per_token:
            part /= table.output_tokens[rows][keep] - 1
        values[count : count + part.size] = part
        count += part.size
    return values[:count]


def latencies_of(table: RequestTable, members: NDArray[np.bool_], name: str) -> NDArray[np.float64]:
    """`latencies_ps` of those requests alone that `members` marks."""
    latency, keep = LATENCIES[name], members & completed(table, name, slice(None))
    start, end = getattr(table, latency.start), getattr(table, latency.end)
    values = np.asarray(end[keep] - start[keep], np.float64)
    return values / (table.output_tokens[keep] - 1) if latency.per_token else values


def tpot_parts(table: RequestTable, rows: slice) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return TPOT within `rows` as a fraction of whole numbers: picoseconds, and tokens."""
    return (
        table.finish[rows] - table.first_token[rows],
        np.maximum(table.output_tokens[rows].astype(np.int64) - 1, 0),
    )
