"""The blocks of one or more caches, in flat arrays.

Cache `r` owns `capacity` blocks from number `first` on, and two more behind them as the ends
of its two lists: `end_of(pool, r, SMALL)` and `(…, MAIN)`. The functions of `pool` are what a
kernel calls; `policy` is a number, so that one compilation serves all, and caches of one pool
may differ in policy and capacity.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BLOCK",
    "CACHE",
    "CODES",
    "FIFO",
    "FLOP_AWARE",
    "LFU",
    "MAIN",
    "NONE",
    "S3_FIFO",
    "SMALL",
    "VLLM_LRU",
    "Int",
    "Ints",
    "Pool",
    "Record",
    "Records",
    "Shorts",
    "record_of",
]

VLLM_LRU, FIFO, LFU, S3_FIFO, FLOP_AWARE = range(5)
CODES = {
    "vllm-lru": VLLM_LRU,
    "fifo": FIFO,
    "lfu": LFU,
    "s3-fifo": S3_FIFO,
    "flop-aware": FLOP_AWARE,
}

NONE, SMALL, MAIN = -1, 0, 1
"""Lists a block may be in. vLLM's free queue is `MAIN`; ranked policies use a heap instead."""


def record_of(wide: str, narrow: str) -> np.dtype[np.void]:
    """Name the fields of a record: those of 64 bits, then those of 32."""
    fields = [(name, "i8") for name in wide.split()]
    fields += [(name, "i4") for name in narrow.split()]
    return np.dtype(fields, align=True)


CACHE = record_of(
    # `available`: blocks that nobody uses. `fresh`: how many were ever used. `clock` counts
    # releases, `ghosts` evictions from S3-FIFO's small queue; `age` is LFU-DA's. `evicted`:
    # the id that went last, for whoever sets it to -1 before an `allocate`.
    "policy capacity first available clock age ghosts evictions evicted named",
    # `free` heads the blocks without an id; `*_idle` of a queue's `*_count` are in use by
    # nobody.
    "fresh free heap_size small_room small_count small_idle main_count main_idle",
)

BLOCK = record_of(
    # Rank of a ranked policy: `key`, then `seq`.
    "key seq",
    # `next` and `prev` in a list, or `next` among the free. `list`: the one it is in; for
    # FIFO, NONE until it was first released. `place` in the heap, or -1.
    "next prev id refs uses depth parent children place list",
)

Ints = NDArray[np.int64]
Shorts = NDArray[np.int32]
Int = Any
"""numba's int64, which to mypy is now Python's and now numpy's."""
Records = Any
"""An array of records."""
Record = Any
"""One record, by reference: numba knows its fields and writes through to the array."""


class Pool(NamedTuple):
    """All caches. Arrays that a policy does not use have no columns."""

    cache: Records
    """One CACHE record each."""
    block: Records
    """BLOCK records: those of a cache, its two ends, those of the next."""
    where: Shorts
    """Block that holds an id, or -1; (caches, ids)."""
    heap: Shorts
    """Blocks that may go, by rank; (caches, largest capacity)."""
    ghost: Ints
    """Number of an id's last eviction from the small queue, or 0; (caches, ids)."""
    bonus: Ints
    """FLOP-aware: added to the clock, at [cache, depth]; the last row and column hold beyond."""
