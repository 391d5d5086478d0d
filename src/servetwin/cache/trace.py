"""BlockTrace: the prefix blocks that a workload's requests refer to, as dense numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from servetwin.errors import InputError
from servetwin.types import BlockHashes, Workload

__all__ = ["BlockTrace", "block_trace", "dense"]

FORMATS_WITH_BLOCKS = "mooncake, agentic, token-ids, servetwin, and kavier with token lists"

Ints = NDArray[np.int64]
Shorts = NDArray[np.int32]


@dataclass(frozen=True)
class BlockTrace:
    """Block references, request by request.

    Request `i` refers to `ids[offsets[i]:offsets[i + 1]]`, from the beginning of its prefix
    on; ids are 0 to `distinct` - 1.
    """

    offsets: Ints
    ids: Shorts
    distinct: int
    block_tokens: int
    input_tokens: Shorts
    source: str = "generated"

    @property
    def references(self) -> int:
        """Blocks referred to, over all requests."""
        return int(self.ids.size)

    @property
    def longest(self) -> int:
        """Blocks of the request with the most."""
        return int(np.diff(self.offsets).max(initial=0))

    @property
    def prefix_chained(self) -> bool:
        """Whether each block always stands behind the same other block, as prefixes do."""
        before = np.empty_like(self.ids)
        before[1:] = self.ids[:-1]
        before[self.offsets[:-1][np.diff(self.offsets) > 0]] = -1
        usual = np.empty(self.distinct, np.int32)
        usual[self.ids] = before
        return bool(np.all(usual[self.ids] == before))


def block_trace(workload: Workload, block_tokens: int | None = None) -> BlockTrace:
    """Number the blocks of a workload; ids local to a session become its own.

    With `block_tokens`, a multiple or a whole part of the trace's own, requests refer to
    their *full* blocks of that size, as in an engine; without it, to the blocks of the
    trace, of which the last may be partial. Raises InputError where no request names
    blocks, or where the sizes do not fit.
    """
    hashes = workload.block_hashes
    if hashes is None:
        raise InputError(
            f"{workload.source}: the trace names no prefix blocks, so nothing could be cached; "
            f"formats that name them are {FORMATS_WITH_BLOCKS}"
        )
    ids = hashes.ids
    if hashes.scope == "session":
        ids = _unique_to_sessions(workload, hashes)
    counts, offsets = np.diff(hashes.offsets), hashes.offsets
    size = hashes.block_tokens if block_tokens is None else block_tokens
    if size != hashes.block_tokens:
        ids, counts = _resized(ids, hashes, workload.input_tokens, size)
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        if not ids.size:
            raise InputError(
                f"block_tokens {size}: no request of {workload.source} has a full block"
            )
    numbers, distinct = dense(ids)
    return BlockTrace(offsets, numbers, distinct, size, workload.input_tokens, workload.source)


def dense(ids: Ints) -> tuple[Shorts, int]:
    """Replace ids by their ranks, and count the different ones."""
    if ids.size == 0:
        return ids.astype(np.int32), 0
    low, high = int(ids.min()), int(ids.max())
    if high - low >= 4 * ids.size:
        known, ranks = np.unique(ids, return_inverse=True)
        return ranks.astype(np.int32), int(known.size)
    # The same without sorting, where the ids lie close together.
    seen = np.zeros(high - low + 1, np.int32)
    seen[ids - low] = 1
    rank = np.cumsum(seen, dtype=np.int32)
    return rank[ids - low] - np.int32(1), int(rank[-1])


def _unique_to_sessions(workload: Workload, hashes: BlockHashes) -> Ints:
    if workload.session_id is None:
        raise InputError(
            f"{workload.source}: block ids are local to sessions, but requests name no session"
        )
    numbers, distinct = dense(hashes.ids)
    sessions, _ = dense(workload.session_id.astype(np.int64))
    session = np.repeat(sessions.astype(np.int64), np.diff(hashes.offsets))
    return session * distinct + numbers


def _resized(ids: Ints, hashes: BlockHashes, inputs: Shorts, size: int) -> tuple[Ints, Ints]:
    """Return the ids of the full blocks of `size` tokens, and their number by request.

    A block of several of the trace's is named after the last of them, which implies the
    others; a part of one, after it and the part's place in it.
    """
    own = hashes.block_tokens
    if size < 1 or (own % size and size % own):
        raise InputError(
            f"block_tokens {size} must divide the trace's block of {own} tokens, or be a "
            "multiple of it"
        )
    counts = np.minimum(np.diff(hashes.offsets) * own // size, inputs // size).astype(np.int64)
    ends = np.cumsum(counts)
    within = np.arange(int(ends[-1]), dtype=np.int64) - np.repeat(ends - counts, counts)
    first = np.repeat(hashes.offsets[:-1], counts)
    if size > own:
        return ids[first + (within + 1) * (size // own) - 1], counts
    parts = own // size
    return ids[first + within // parts] * parts + within % parts, counts
