"""What both simulators write: what became of one run, in integers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from servetwin.cache.tiers import TierTraffic
from servetwin.types.result import TokenGaps
from servetwin.units import NOT_YET

__all__ = ["Outcome", "SnapshotRows", "empty_columns", "empty_gaps"]

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class SnapshotRows:
    """States at `interval`, `2 * interval`, …; each array has shape (snapshots, replicas)."""

    running: Ints
    waiting: Ints
    kv_blocks: Ints
    prefill_tokens: Ints
    decode_tokens: Ints
    iterations: Ints
    context_tokens: Ints


@dataclass(frozen=True)
class Outcome:
    """What a simulator found. Times in picoseconds; both simulators agree to the last digit."""

    arrival: Ints
    first_scheduled: Ints
    first_token: Ints
    finish: Ints
    preemptions: NDArray[np.int32]
    replica: NDArray[np.int32]
    status: NDArray[np.int8]
    prefill_time: Ints
    """Of each request, its own; `RequestTable` says what this and the next two mean."""
    decode_time: Ints
    preempted_time: Ints
    peak_blocks: int
    """Most in use at once on any one replica, of the first kind where there are several."""
    gaps: Ints
    snapshots: SnapshotRows | None
    cached_tokens: NDArray[np.int32] | None = None
    """Input tokens found in the cache on first admission; None where nothing is cached."""
    kv_transfer: Ints | None = None
    """By request: how long blocks came from tiers below HBM, or from the prefill replica; None
    where there is neither."""
    tiers: tuple[TierTraffic, ...] = ()
    """Of the prefill pool first, where there are two."""
    prefill_replica: NDArray[np.int32] | None = None
    """This and the next three only with a decode pool, see `RequestTable`."""
    handover: Ints | None = None
    handover_transfer: Ints | None = None
    decode_peak_blocks: int = 0
    also_peak_blocks: tuple[int, ...] = ()
    """`peak_blocks` of each other kind."""
    stage_busy: Ints | None = None
    """Picoseconds of work, (engines, stages), of the prefill pool where there are two; None
    without stages."""
    decode_stage_busy: Ints | None = None
    """The same of the decode pool."""
    prefill_stage_wait: Ints | None = None
    """By request, as `RequestTable` has it; this and the next are None without stages."""
    decode_stage_wait: Ints | None = None
    outages: Ints | None = None
    """One row `failures.Outage` for each failure, in order; this and the next two are None where
    nothing can fail."""
    losses: Ints | None = None
    """As `failures.LOSSES` names them."""
    retries: NDArray[np.int32] | None = None
    """By request: how often it began anew since its engine had failed."""
    prefill_outage: Ints | None = None
    """By request, as `RequestTable` has it; this and the next only with `outages`."""
    decode_outage: Ints | None = None
    iterations: int = 0
    """Engine iterations simulated, over all replicas."""
    split_chunks: int = 0
    """Prefill chunks that left their prompt unfinished."""
    events: int = 0
    """Steps the simulator itself took; with jumps, fewer than iterations."""

    @property
    def span(self) -> int:
        """Picoseconds from the first arrival to the last token; 1 at least."""
        arrived = self.arrival[self.arrival != NOT_YET]
        first = int(arrived.min()) if arrived.size else 0
        return max(1, int(self.finish.max(initial=0)) - first)


def empty_columns(n: int) -> dict[str, Ints]:
    """Columns of times for `n` requests to which nothing has happened."""
    return {
        name: np.full(n, NOT_YET, np.int64) for name in ("first_scheduled", "first_token", "finish")
    }


def empty_gaps(wanted: bool) -> Ints:
    """Histogram of token gaps; a single bin where nobody wants one."""
    return np.zeros(TokenGaps.BINS if wanted else 1, np.int64)
