"""Latencies of requests of each priority."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from servetwin.results.describing import describe
from servetwin.results.latencies import chunks, latencies_of
from servetwin.types import RequestTable, Status
from servetwin.units import PS_PER_MS, PS_PER_S

__all__ = ["MOST_CLASSES", "by_priority"]

MOST_CLASSES = 8
"""Priorities that are told apart; of more, there is no table."""


def by_priority(table: RequestTable) -> list[dict[str, Any]] | None:
    """One entry for each priority, the smallest first.

    None where the requests have no priorities, or more different ones than MOST_CLASSES.
    """
    if table.priority is None:
        return None
    found: NDArray[np.int32] = np.zeros(0, np.int32)
    for rows in chunks(len(table)):
        found = np.union1d(found, table.priority[rows])
        if found.size > MOST_CLASSES:
            return None
    return [_entry(table, int(priority)) for priority in found]


def _entry(table: RequestTable, priority: int) -> dict[str, Any]:
    assert table.priority is not None
    members = table.priority == priority
    return {
        "priority": priority,
        "requests": int(members.sum()),
        "completed": int((members & (table.status == Status.OK)).sum()),
        "preemptions": int(table.preemptions[members].sum(dtype=np.int64)),
        "ttft_ms": describe(latencies_of(table, members, "ttft"), PS_PER_MS),
        "e2e_latency_s": describe(latencies_of(table, members, "e2e"), PS_PER_S),
    }
