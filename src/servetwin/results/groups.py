"""How replicas of each kind fared, where they are of several."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from servetwin.results.describing import describe
from servetwin.results.latencies import latencies_of
from servetwin.types import RequestTable, Status
from servetwin.units import PS_PER_MS

__all__ = ["by_group"]


def by_group(
    table: RequestTable, groups: list[dict[str, Any]] | None
) -> list[dict[str, Any]] | None:
    """What is known of each group, and the requests that its replicas took."""
    if groups is None:
        return None
    served = int(np.count_nonzero(table.replica >= 0))
    return [{**group, **_requests(table, _members(table, group), served)} for group in groups]


def _members(table: RequestTable, group: dict[str, Any]) -> NDArray[np.bool_]:
    first = group["first"]
    return np.asarray((table.replica >= first) & (table.replica < first + group["replicas"]))


def _requests(table: RequestTable, members: NDArray[np.bool_], served: int) -> dict[str, Any]:
    count = int(np.count_nonzero(members))
    return {
        "requests": count,
        "share": count / served if served else None,
        "completed": int(np.count_nonzero(members & (table.status == Status.OK))),
        "ttft_ms": describe(latencies_of(table, members, "ttft"), PS_PER_MS),
        "tpot_ms": describe(latencies_of(table, members, "tpot"), PS_PER_MS),
    }
