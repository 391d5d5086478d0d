"""Workload -> Workload: fewer requests, another rate, other arrivals."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from servetwin.errors import InputError, counted
from servetwin.types import BlockHashes, Workload
from servetwin.units import MAX_TIME_PS, NOT_YET, PS_PER_S
from servetwin.workload.rates import check_rate

__all__ = ["at_rate", "take", "with_arrivals", "without_long"]


def take(workload: Workload, n: int) -> Workload:
    """Return the first `n` requests (all, if there are fewer).

    A parent has a smaller number than its follow-ups, so no chain loses its beginning.
    """
    if n < 1:
        raise InputError(f"{n} requests of {workload.name}: at least 1 is needed")
    if n >= len(workload):
        return workload
    hashes = workload.block_hashes
    if hashes is not None:
        ids = hashes.ids[: int(hashes.offsets[n])]
        hashes = BlockHashes(hashes.offsets[: n + 1], ids, hashes.block_tokens, hashes.scope)
    return replace(workload, **_rows(workload, slice(n)), block_hashes=hashes)


def without_long(workload: Workload, total_tokens: int) -> Workload:
    """Leave out requests of more input and output tokens together, and say so in its notes.

    Their follow-ups go with them: nobody answers the request that they wait for.
    Raises InputError where none is left.
    """
    keep = workload.input_tokens + workload.output_tokens <= total_tokens
    parent = workload.parent
    if parent is not None:
        keep = _with_all_ancestors(keep, parent)
    left = int(np.count_nonzero(keep))
    if left == len(workload):
        return workload
    tokens = counted(total_tokens, "token")
    if not left:
        raise InputError(
            f"{workload.name}: of {counted(len(workload), 'request')} none is left without those "
            f"of more than {tokens}"
        )
    rows = _rows(workload, keep)
    if parent is not None:
        place = np.cumsum(keep, dtype=np.int32) - 1
        rows["parent"] = np.where(rows["parent"] >= 0, place[rows["parent"]], np.int32(-1))
    hashes = workload.block_hashes
    if hashes is not None:
        counts = np.diff(hashes.offsets)
        offsets = np.concatenate([[0], np.cumsum(counts[keep])])
        ids = hashes.ids[np.repeat(keep, counts)]
        hashes = BlockHashes(offsets, ids, hashes.block_tokens, hashes.scope)
    note = (
        f"{len(workload) - left:,} of {counted(len(workload), 'request')} left out: more than "
        f"{tokens} of input and output{', or follow-ups of those' if workload.closed_loop else ''}"
    )
    return replace(workload, **rows, block_hashes=hashes, notes=(*workload.notes, note))


COLUMNS = (
    "arrival",
    "input_tokens",
    "output_tokens",
    "session_id",
    "parent",
    "think_time",
    "priority",
    "adapter",
)
"""Of a workload, but for the block hashes."""


def _rows(workload: Workload, which: slice | NDArray[np.bool_]) -> dict[str, Any]:
    """Pick the same requests from every column but the block hashes."""
    columns = {name: getattr(workload, name) for name in COLUMNS}
    return {name: None if column is None else column[which] for name, column in columns.items()}


def _with_all_ancestors(keep: NDArray[np.bool_], parent: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Keep a request only if all are kept that it directly or indirectly waits for.

    Each round looks twice as many generations back.
    """
    before = np.where(parent >= 0, parent, np.arange(parent.size))
    while True:
        keep = keep & keep[before]
        further = before[before]
        if np.array_equal(further, before):
            return keep
        before = further


CHUNK = 1 << 18
"""Arrivals that are Python integers at one time; a Python integer takes 40 bytes."""


def at_rate(workload: Workload, rps: float) -> Workload:
    """Scale all gaps between arrivals by one factor, such that they come at `rps` a second.

    The rate is (arrivals - 1) / (last - first); the first arrival stays. Only arrivals known
    beforehand count: a closed loop's follow-ups keep their think times. Computed in whole
    numbers, so the same call gives the same picoseconds everywhere.
    """
    check_rate(rps)
    known = workload.arrival != NOT_YET
    count = int(np.count_nonzero(known))
    if count < 2 or workload.span_ps == 0:
        found = "one arrival" if count < 2 else "all arrivals at one time"
        raise InputError(
            f"{workload.name}: {found}, so there are no gaps to scale to {rps} requests/s; "
            "generate arrivals instead"
        )
    factor = Fraction(count - 1) * PS_PER_S / (Fraction(str(rps)) * workload.span_ps)
    up, down = factor.numerator, factor.denominator
    times = workload.arrival[known]
    first, last = int(times[0]), int(times[-1])

    def scale(time: int) -> int:
        return first + ((time - first) * up * 2 + down) // (2 * down)

    if scale(last) > MAX_TIME_PS:
        days = scale(last) // (86_400 * PS_PER_S)
        raise InputError(f"{rps} requests/s stretch {workload.name} over {days:,} days; 90 at most")
    for start in range(0, count, CHUNK):
        part = slice(start, start + CHUNK)
        times[part] = [scale(time) for time in times[part].tolist()]
    return with_arrivals(workload, times)


def with_arrivals(workload: Workload, arrivals: NDArray[np.int64]) -> Workload:
    """Replace the arrivals known beforehand by `arrivals` (ps, not decreasing), in order."""
    known = workload.arrival != NOT_YET
    if arrivals.shape != (int(np.count_nonzero(known)),):
        raise ValueError("one arrival is needed for each request that is no follow-up")
    replaced = workload.arrival.copy()
    replaced[known] = arrivals
    return replace(workload, arrival=replaced)
