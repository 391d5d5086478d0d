"""Traces replayed in pure Python: the definition of every policy's hits."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict, defaultdict
from collections.abc import Collection, Sequence
from itertools import pairwise

from servetwin.cache.policies import PolicyOptions, flop_bonus
from servetwin.cache.reference.policies import Fifo, FlopAware, Lfu, S3Fifo, VllmLru
from servetwin.cache.reference.policy import Block, EvictionPolicy, PolicyFactory
from servetwin.cache.reference.pool import BlockPool
from servetwin.cache.trace import BlockTrace

__all__ = ["belady", "make_pool", "replay", "replay_pool", "trace_lru"]

Requests = Sequence[Sequence[int]]
Counts = tuple[list[int], int]
"""Hits of each request, and blocks evicted in all."""


def replay(
    trace: BlockTrace, capacity: int, policy: str | PolicyFactory, options: PolicyOptions
) -> Counts:
    """Replay a trace through a policy, named or the user's own."""
    bounds = trace.offsets.tolist()
    ids = trace.ids.tolist()
    requests = [ids[a:b] for a, b in pairwise(bounds)]
    if policy == "trace-lru":
        return trace_lru(requests, capacity)
    if policy == "belady":
        return belady(requests, capacity)
    if isinstance(policy, str):
        bonus = flop_bonus(trace.longest, capacity, trace.block_tokens, options)
        return replay_pool(requests, make_pool(policy, capacity, options, bonus.tolist()))
    return replay_pool(requests, BlockPool(capacity, policy(capacity)))


def make_pool(
    policy: str, capacity: int, options: PolicyOptions, bonus: Sequence[int] = ()
) -> BlockPool:
    """Make the pool of an engine policy; `flop-aware` needs the `bonus` of each depth."""
    choice: EvictionPolicy
    if policy == "vllm-lru":
        return BlockPool(capacity, VllmLru(), ordered_free=True)
    if policy == "fifo":
        choice = Fifo()
    elif policy == "lfu":
        choice = Lfu()
    elif policy == "s3-fifo":
        choice = S3Fifo(capacity, options)
    else:
        assert policy == "flop-aware", policy
        choice = FlopAware(bonus)
    return BlockPool(capacity, choice)


def trace_lru(requests: Requests, capacity: int) -> Counts:
    """Count hits by the rule of the published Mooncake figures.

    A request hits the leading run of its blocks that are cached; then each of its blocks is
    touched or inserted, in order; then the least recently used are evicted down to the
    capacity.
    """
    cached: OrderedDict[int, None] = OrderedDict()
    hits, evictions = [], 0
    for request in requests:
        hits.append(leading(request, cached))
        for id in request:
            cached[id] = None
            cached.move_to_end(id)
        while len(cached) > capacity:
            cached.popitem(last=False)
            evictions += 1
    return hits, evictions


def belady(requests: Requests, capacity: int) -> Counts:
    """Count hits where, after each request, the blocks stay that are needed soonest.

    Blocks are ordered by the request that next names them, and by their place in it.
    """
    uses: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for number, request in enumerate(requests):
        for place, id in enumerate(request):
            uses[id].append((number, place))
    cached: set[int] = set()
    hits, evictions = [], 0
    for number, request in enumerate(requests):
        hits.append(leading(request, cached))
        cached |= set(request)
        if len(cached) > capacity:
            following = {id: _next_use(uses[id], number) for id in cached}
            kept = sorted(cached, key=following.__getitem__)[:capacity]
            evictions += len(cached) - len(kept)
            cached = set(kept)
    return hits, evictions


def _next_use(uses: list[tuple[int, int]], number: int) -> tuple[float, float]:
    later = bisect_right(uses, (number, float("inf")))
    return uses[later] if later < len(uses) else (float("inf"), 0)


def replay_pool(requests: Requests, pool: BlockPool) -> Counts:
    """Let one request after the other run alone, and end before the next begins.

    A request takes the cached ones of its blocks, then gets the others, in order; at its end
    it releases them all, the last first. One longer than the pool keeps what fits: its first
    blocks.
    """
    hits = []
    for request in requests:
        hits.append(leading(request, pool.known))
        request = request[: pool.capacity]
        held = [_acquired(pool, id) for id in request]
        for place, id in enumerate(request):
            if held[place] is None:
                held[place] = _acquired(pool, id) or _inserted(pool, request, held, place)
        for block in reversed(held):
            assert block is not None
            pool.release(block)
    return hits, pool.evictions


def _acquired(pool: BlockPool, id: int) -> Block | None:
    block = pool.lookup(id)
    if block is not None:
        pool.acquire(block)
    return block


def _inserted(
    pool: BlockPool, request: Sequence[int], held: Sequence[Block | None], place: int
) -> Block:
    block = pool.allocate()
    pool.name(block, request[place], place, held[place - 1] if place else None)
    return block


def leading(request: Sequence[int], cached: Collection[int]) -> int:
    """Count the blocks from the start of `request` on that are cached without a gap."""
    return next((place for place, id in enumerate(request) if id not in cached), len(request))
