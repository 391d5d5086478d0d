"""KV blocks of one engine: the answers of `reference.BlockPool`, in flat arrays.

A kernel looks an id up, acquires what it finds, allocates and names what it computes, and
releases everything at the end of a request, the last block first. Blocks are numbers into
`pool.block`; `r` is the cache.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from servetwin.cache.kernel import heap, queues
from servetwin.cache.kernel.compile import inlined, outlined
from servetwin.cache.kernel.links import append, end_of, unlink
from servetwin.cache.kernel.state import (
    BLOCK,
    CACHE,
    CODES,
    FIFO,
    FLOP_AWARE,
    LFU,
    MAIN,
    NONE,
    S3_FIFO,
    SMALL,
    VLLM_LRU,
    Int,
    Ints,
    Pool,
    Record,
)
from servetwin.cache.policies import PolicyOptions

__all__ = ["acquire", "allocate", "clear", "lookup", "make_pool", "make_pools", "name", "release"]


def make_pool(
    policy: str,
    capacity: int,
    ids: int,
    options: PolicyOptions,
    *,
    caches: int = 1,
    bonus: Ints | None = None,
) -> Pool:
    """Make empty caches of `capacity` blocks each, for ids from 0 to `ids` - 1.

    `bonus` is `flop_bonus` for `flop-aware`, one for all caches or one for each. Takes about 60
    bytes a block and 4 an id (12 for `s3-fifo`), in each cache.
    """
    return make_pools([(policy, capacity)] * caches, ids, options, bonus)


def make_pools(
    kinds: Sequence[tuple[str, int]], ids: int, options: PolicyOptions, bonus: Ints | None = None
) -> Pool:
    """Make empty caches, each of its own policy and capacity, for ids from 0 to `ids` - 1."""
    codes = [CODES[policy] for policy, _ in kinds]
    capacities = np.array([capacity for _, capacity in kinds], np.int64)
    cache = np.zeros(len(kinds), CACHE)
    cache["policy"] = codes
    cache["capacity"] = cache["available"] = capacities
    cache["first"] = np.cumsum(capacities + 2) - (capacities + 2)
    cache["free"] = -1
    cache["small_room"] = [options.small_room(capacity) for _, capacity in kinds]
    block = np.zeros(int(np.sum(capacities + 2)), BLOCK)
    for end in (SMALL, MAIN):
        ends = cache["first"] + capacities + end
        block["next"][ends] = block["prev"][ends] = ends
    ranked = np.isin(codes, (FIFO, LFU, FLOP_AWARE))
    return Pool(
        cache=cache,
        block=block,
        where=np.full((len(kinds), ids), -1, np.int32),
        heap=np.zeros((len(kinds), int(capacities[ranked].max(initial=0))), np.int32),
        ghost=np.zeros((len(kinds), ids if S3_FIFO in codes else 0), np.int64),
        bonus=np.atleast_2d(np.zeros(1, np.int64) if bonus is None else bonus),
    )


@inlined
def lookup(pool: Pool, r: Int, id: Int) -> Int:
    """Return the block that holds `id`, or -1."""
    return pool.where[r, id]


@inlined
def allocate(pool: Pool, r: Int) -> Int:
    """Return a block with one user and no id; some must be available."""
    cache = pool.cache[r]
    cache.available -= 1
    if cache.fresh < cache.capacity:
        number = cache.first + cache.fresh
        cache.fresh += 1
    elif cache.free >= 0:
        number = np.int64(cache.free)
        cache.free = pool.block[number].next
    else:
        number = np.int64(_evict(pool, cache, r))
    block = pool.block[number]
    block.refs = 1
    block.id = -1
    return number


@inlined
def name(pool: Pool, r: Int, number: Int, id: Int, depth: Int, parent: Int) -> None:
    """Let a block, now full, be found as `id`; its user holds `parent`, the one before, or -1.

    Where another block holds `id` already, this one stays without.
    """
    if pool.where[r, id] >= 0:
        return
    block = pool.block[number]
    pool.where[r, id] = number
    block.id = id
    block.depth = depth
    block.uses = 0
    block.children = 0
    block.place = -1
    block.list = NONE
    block.parent = -1
    if parent >= 0 and pool.block[parent].id >= 0:
        block.parent = parent
        pool.block[parent].children += 1
    pool.cache[r].named += 1


@inlined
def acquire(pool: Pool, r: Int, number: Int) -> None:
    """Count one more user of a block that was looked up."""
    cache = pool.cache[r]
    block = pool.block[number]
    block.refs += 1
    if block.refs == 1:
        cache.available -= 1
        if cache.policy == VLLM_LRU:
            unlink(pool, number)
        elif cache.policy == S3_FIFO:
            queues.leave_idle(pool, cache, number)
        elif block.place >= 0:
            heap.remove(pool, r, number)
    if cache.policy != S3_FIFO or block.uses < queues.MOST_USES:
        block.uses += 1


@inlined
def release(pool: Pool, r: Int, number: Int) -> None:
    """Count one user less."""
    cache = pool.cache[r]
    block = pool.block[number]
    block.refs -= 1
    if block.refs > 0:
        return
    cache.available += 1
    if cache.policy == VLLM_LRU:
        append(pool, end_of(pool, r, MAIN), number)
    elif block.id < 0:
        block.next = cache.free
        cache.free = number
    elif cache.policy == S3_FIFO:
        queues.enter(pool, cache, r, number)
    else:
        _rank(pool, cache, r, number)
        if cache.policy != FLOP_AWARE or block.children == 0:
            heap.push(pool, r, number)


@inlined
def _rank(pool: Pool, cache: Record, r: Int, number: Int) -> None:
    """Set the rank of a block that is released now."""
    block = pool.block[number]
    cache.clock += 1
    if cache.policy == FIFO:
        if block.list == NONE:
            block.list = MAIN
            block.key = cache.clock
        return
    block.seq = cache.clock
    if cache.policy == LFU:
        block.key = 1 + block.uses + cache.age
    else:
        rows, depths = pool.bonus.shape
        block.key = cache.clock + pool.bonus[min(r, rows - 1), min(block.depth, depths - 1)]


@outlined
def clear(pool: Pool, r: Int) -> None:
    """Empty a cache, whoever uses its blocks; only its evictions stay counted."""
    cache = pool.cache[r]
    for id in range(pool.where.shape[1]):
        pool.where[r, id] = -1
    for id in range(pool.ghost.shape[1]):
        pool.ghost[r, id] = 0
    for which in (SMALL, MAIN):
        end = end_of(pool, r, which)
        pool.block[end].next = end
        pool.block[end].prev = end
    cache.available = cache.capacity
    cache.clock = cache.age = cache.ghosts = cache.named = 0
    cache.fresh = cache.heap_size = 0
    cache.small_count = cache.small_idle = cache.main_count = cache.main_idle = 0
    cache.free = -1


@outlined
def _evict(pool: Pool, cache: Record, r: Int) -> Int:
    """Free the block that the policy chooses; some must be unused."""
    if cache.policy == VLLM_LRU:
        number = np.int64(pool.block[end_of(pool, r, MAIN)].next)
        unlink(pool, number)
    elif cache.policy == S3_FIFO:
        number = np.int64(queues.choose(pool, cache, r))
    else:
        number = np.int64(heap.pop(pool, r))
        if cache.policy == LFU:
            cache.age = pool.block[number].key
    block = pool.block[number]
    if block.id < 0:
        return number
    pool.where[r, block.id] = -1
    cache.named -= 1
    cache.evictions += 1
    cache.evicted = block.id
    parent = block.parent
    if parent >= 0:
        pool.block[parent].children -= 1
        last = pool.block[parent].children == 0 and pool.block[parent].refs == 0
        if last and cache.policy == FLOP_AWARE:
            heap.push(pool, r, parent)
    return number
