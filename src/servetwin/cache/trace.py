"""BlockTrace: the prefix blocks that a workload's requests refer to, as dense numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from servetwin.errors import InputError
from servetwin.types import BlockHashes, Workload

__all__ = ["MOST_REFERENCES", "BlockTrace", "block_trace", "dense", "full_blocks"]

FORMATS_WITH_BLOCKS = "mooncake, agentic, token-ids, servetwin, and kavier with token lists"

MOST_REFERENCES = 200_000_000
"""Blocks that all requests together may refer to, in an engine; 8 bytes each while it runs."""

SLAB = 4096
"""Requests whose blocks are regrouped at once, which bounds the memory in between."""

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
    if block_tokens is None or block_tokens == hashes.block_tokens:
        numbers, distinct = dense(_comparable(workload, hashes))
        size, inputs = hashes.block_tokens, workload.input_tokens
        return BlockTrace(hashes.offsets, numbers, distinct, size, inputs, workload.source)
    trace = full_blocks(workload, hashes, block_tokens)
    if not trace.references:
        raise InputError(
            f"block_tokens {block_tokens}: no request of {workload.source} has a full block"
        )
    return trace


def full_blocks(workload: Workload, hashes: BlockHashes, block_tokens: int) -> BlockTrace:
    """Number the full blocks of `block_tokens` tokens, which are those that an engine shares.

    There may be none. Raises InputError where the trace's blocks cannot be regrouped so, or
    where there are more than `MOST_REFERENCES`.
    """
    own = hashes.block_tokens
    if block_tokens < 1 or (own % block_tokens and block_tokens % own):
        raise InputError(
            f"block_tokens {block_tokens} must divide the trace's block of {own} tokens, or be a "
            "multiple of it"
        )
    named = np.diff(hashes.offsets) * own // block_tokens
    counts = np.minimum(named, workload.input_tokens // block_tokens).astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    if offsets[-1] > MOST_REFERENCES:
        raise InputError(
            f"{workload.source}: its prefixes have {offsets[-1]:,} blocks of {block_tokens} "
            f"tokens, and at most {MOST_REFERENCES:,} are possible: take larger blocks or fewer "
            "requests"
        )
    numbers, distinct = dense(_regrouped(workload, hashes, block_tokens, offsets))
    return BlockTrace(
        offsets, numbers, distinct, block_tokens, workload.input_tokens, workload.source
    )


def dense(ids: Ints | Shorts) -> tuple[Shorts, int]:
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


def _comparable(workload: Workload, hashes: BlockHashes) -> Ints:
    """Ids that are equal only where the blocks are, whatever the session."""
    if hashes.scope == "global":
        return hashes.ids
    if workload.session_id is None:
        raise InputError(
            f"{workload.source}: block ids are local to sessions, but requests name no session"
        )
    numbers, distinct = dense(hashes.ids)
    sessions, _ = dense(workload.session_id.astype(np.int64))
    session = np.repeat(sessions.astype(np.int64), np.diff(hashes.offsets))
    return session * distinct + numbers


def _regrouped(workload: Workload, hashes: BlockHashes, size: int, offsets: Ints) -> Ints | Shorts:
    """Ids of blocks of `size` tokens, of which request `i` has those from `offsets[i]` on.

    A block of several of the trace's is named after the last of them, which implies the
    others; a part of one, after it and the part's place in it.
    """
    own = hashes.block_tokens
    parts, group = max(own // size, 1), max(size // own, 1)
    numbers, distinct = dense(_comparable(workload, hashes))
    ids: Ints | Shorts = np.empty(int(offsets[-1]), np.int64)
    if distinct * parts < 2**31:
        ids = np.empty(int(offsets[-1]), np.int32)
    for start in range(0, len(workload), SLAB):
        mine = offsets[start : start + SLAB + 1]
        counts = np.diff(mine)
        within = np.arange(mine[0], mine[-1]) - np.repeat(mine[:-1], counts)
        first = np.repeat(hashes.offsets[start : start + counts.size], counts)
        block = numbers[first + within // parts * group + group - 1].astype(np.int64)
        ids[mine[0] : mine[-1]] = block * parts + within % parts
    return ids
