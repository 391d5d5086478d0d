"""Workload -> Workload: fewer requests, another rate, other arrivals."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from servetwin.errors import InputError
from servetwin.types import BlockHashes, Workload
from servetwin.units import MAX_TIME_PS, NOT_YET, PS_PER_S
from servetwin.workload.rates import check_rate

__all__ = ["at_rate", "take", "with_arrivals"]


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
    return replace(
        workload,
        arrival=workload.arrival[:n],
        input_tokens=workload.input_tokens[:n],
        output_tokens=workload.output_tokens[:n],
        session_id=None if workload.session_id is None else workload.session_id[:n],
        parent=None if workload.parent is None else workload.parent[:n],
        think_time=None if workload.think_time is None else workload.think_time[:n],
        block_hashes=hashes,
    )


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
