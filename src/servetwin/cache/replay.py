"""Replay the requests of a workload through one cache, and count what it saves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from servetwin.cache.policies import PolicyOptions, check_policy, flop_bonus
from servetwin.cache.reference.policy import PolicyFactory
from servetwin.cache.trace import BlockTrace, block_trace
from servetwin.errors import InputError
from servetwin.types import Workload

__all__ = ["CacheReplay", "replay"]

Shorts = NDArray[np.int32]


@dataclass(frozen=True)
class CacheReplay:
    """What a cache of `capacity_blocks` would have found of each request's prefix."""

    policy: str
    capacity_blocks: int | None
    """None: unbounded."""
    block_tokens: int
    references: int
    distinct: int
    """Different blocks, which is the capacity from which on nothing is evicted."""
    evictions: int
    hit_blocks: Shorts
    """By request: blocks from the beginning on that were cached when it arrived."""
    cached_tokens: Shorts
    """By request: input tokens in those blocks. An engine computes at least one token of
    each input, which is a rule of engines and not subtracted here."""

    @property
    def hits(self) -> int:
        """Block references that hit."""
        return int(self.hit_blocks.sum(dtype=np.int64))

    @property
    def hit_rate(self) -> float:
        """Share of the block references that hit."""
        return self.hits / self.references if self.references else 0.0

    @property
    def hit_tokens(self) -> int:
        """Input tokens in blocks that hit."""
        return int(self.cached_tokens.sum(dtype=np.int64))


def replay(
    requests: Workload | BlockTrace,
    capacity_blocks: int | None,
    policy: str | PolicyFactory = "trace-lru",
    block_tokens: int | None = None,
    options: PolicyOptions | None = None,
) -> CacheReplay:
    """Replay requests in their order, each alone: it ends before the next one begins.

    `capacity_blocks` None is unbounded. `policy` is a name, or makes an own policy (see
    `reference.EvictionPolicy`), which runs in Python. `block_tokens` are those of an engine
    (see `block_trace`; not with a BlockTrace, which has its own). Raises InputError.
    """
    if isinstance(policy, str):
        policy = check_policy(policy)
    if capacity_blocks is not None and capacity_blocks < 1:
        raise InputError(f"capacity_blocks {capacity_blocks} must be at least 1")
    if isinstance(requests, Workload):
        requests = block_trace(requests, block_tokens)
    elif block_tokens is not None:
        raise ValueError("block_tokens belong to the making of a BlockTrace")
    if policy == "flop-aware" and not requests.prefix_chained:
        raise InputError(
            f"{requests.source}: flop-aware needs blocks that always stand behind the same "
            "block, and some here do not; take another policy"
        )
    hit_blocks, evictions = _run(requests, capacity_blocks, policy, options or PolicyOptions())
    tokens = np.minimum(hit_blocks.astype(np.int64) * requests.block_tokens, requests.input_tokens)
    return CacheReplay(
        policy=policy if isinstance(policy, str) else getattr(policy, "__name__", "own policy"),
        capacity_blocks=capacity_blocks,
        block_tokens=requests.block_tokens,
        references=requests.references,
        distinct=requests.distinct,
        evictions=evictions,
        hit_blocks=hit_blocks,
        cached_tokens=tokens.astype(np.int32),
    )


def _run(
    trace: BlockTrace, capacity: int | None, policy: str | PolicyFactory, options: PolicyOptions
) -> tuple[Shorts, int]:
    """Return the hits of each request, and the blocks evicted."""
    most = max(trace.distinct, 1)
    room = most if capacity is None else min(capacity, most)  # more makes no difference
    if not isinstance(policy, str):
        return _in_python(trace, room, policy, options)
    hits = np.zeros(trace.offsets.size - 1, np.int32)
    run: Callable[..., int] = {"trace-lru": _trace_lru, "belady": _belady}.get(policy, _pool)
    return hits, run(trace, room, policy, options, hits)


def _in_python(
    trace: BlockTrace, capacity: int, policy: PolicyFactory, options: PolicyOptions
) -> tuple[Shorts, int]:
    from servetwin.cache import reference

    hits, evictions = reference.replay(trace, capacity, policy, options)
    return np.array(hits, np.int32), evictions


def _trace_lru(trace: BlockTrace, capacity: int, _: str, __: PolicyOptions, hits: Shorts) -> int:
    from servetwin.cache.kernel import traces

    links = np.full((trace.distinct + 1, 2), -1, np.int32)
    return int(traces.trace_lru(trace.ids, trace.offsets, links, capacity, hits))


def _belady(trace: BlockTrace, capacity: int, _: str, __: PolicyOptions, hits: Shorts) -> int:
    from servetwin.cache.kernel import traces

    following = np.empty(trace.references, np.int64)
    traces.next_uses(trace.ids, trace.offsets, np.full(trace.distinct, -1, np.int64), following)
    cached = np.zeros(trace.distinct, np.int8)
    heap = np.empty(trace.references, np.int64)
    evictions = traces.replay_belady(
        trace.ids, trace.offsets, following, cached, heap, capacity, hits
    )
    return int(evictions)


def _pool(
    trace: BlockTrace, capacity: int, policy: str, options: PolicyOptions, hits: Shorts
) -> int:
    from servetwin.cache.kernel import pool, traces

    bonus = flop_bonus(trace.longest, capacity, trace.block_tokens, options)
    blocks = pool.make_pool(policy, capacity, trace.distinct, options, bonus=bonus)
    held = np.empty(max(trace.longest, 1), np.int64)
    return int(traces.replay_pool(blocks, trace.ids, trace.offsets, held, hits))
