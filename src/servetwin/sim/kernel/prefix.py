"""KV blocks that outlive their request: `reference/prefix.py`, in flat arrays.

A seat knows which block it holds at each place of its input that the workload names
(`Caches.held`). All its other blocks are anonymous, and one is as good as another: the replica
keeps those in use on one stack, and a seat only their number. Without caching a seat's
blocks are numbers altogether; either way `rep.free` counts those that nobody uses.
"""

import numpy as np

from servetwin.cache.kernel import pool as cache
from servetwin.cache.kernel.tiers import demote
from servetwin.sim.kernel.compile import inlined, outlined
from servetwin.sim.kernel.state import Caches, Flag, Int, Record, State
from servetwin.units import NOT_YET

__all__ = ["begin", "fill", "find", "grow", "precedes", "release", "release_of", "take"]


@inlined
def find(state: State, settings: Record, r: Int, request: Int, known: Int) -> tuple[Int, Int]:
    """Leading blocks of a waiting request that are cached, and how many of them nobody uses.

    Short of the whole: of `known` tokens, one must be computed.
    """
    if settings.caching:
        return _find(state.caches, settings, r, request, known)
    return np.int64(0), np.int64(0)


@outlined
def _find(caches: Caches, settings: Record, r: Int, request: Int, known: Int) -> tuple[Int, Int]:
    pool = caches.pool
    first = caches.offsets[request]
    most = min(caches.offsets[request + 1] - first, (known - 1) // settings.block_size)
    hits = np.int64(0)
    idle = np.int64(0)
    while hits < most:
        number = cache.lookup(pool, r, caches.ids[first + hits])
        if number < 0:
            break
        idle += pool.block[number].refs == 0
        hits += 1
    return hits, idle


@inlined
def begin(state: State, settings: Record, rep: Record, r: Int, number: Int) -> None:
    """Give a seat that was just taken the blocks that it finds computed."""
    seat = state.seat[number]
    seat.blocks = 0
    if settings.caching:
        _begin(state.caches, settings, rep, r, number, seat)
        if state.first_scheduled[seat.request] == NOT_YET:
            state.caches.cached[seat.request] = seat.computed


@outlined
def _begin(
    caches: Caches, settings: Record, rep: Record, r: Int, number: Int, seat: Record
) -> None:
    pool, prefix = caches.pool, caches.seat[number]
    request = seat.request
    first = caches.offsets[request]
    prefix.first = first
    prefix.named = caches.offsets[request + 1] - first
    hits, _ = _find(caches, settings, r, request, seat.target)
    before = pool.cache[r].available
    for place in range(hits):
        block = np.int64(cache.lookup(pool, r, caches.ids[first + place]))
        cache.acquire(pool, r, block)
        caches.held[first + place] = block
    rep.free -= before - pool.cache[r].available
    prefix.filled = hits
    seat.blocks = hits
    seat.computed = hits * settings.block_size


@inlined
def _allocate(caches: Caches, r: Int, now: Int) -> Int:
    """Return a block, and write back what it held."""
    mine = caches.pool.cache[r]
    mine.evicted = -1
    number = cache.allocate(caches.pool, r)
    if mine.evicted >= 0 and caches.tiers.tier.shape[1] > 0:
        demote(caches.tiers, r, mine.evicted, now)
    return number


@inlined
def take(state: State, settings: Record, rep: Record, r: Int, count: Int, now: Int) -> None:
    """Hand out anonymous blocks, of which `count` must be free, for a plan made at `now`."""
    if settings.caching:
        _take(state.caches, rep, r, count, now)
    rep.free -= count


@outlined
def _take(caches: Caches, rep: Record, r: Int, count: Int, now: Int) -> None:
    for _ in range(count):
        number = _allocate(caches, r, now)
        caches.pool.block[number].next = rep.anonymous
        rep.anonymous = number


@inlined
def grow(state: State, settings: Record, rep: Record, r: Int, number: Int, blocks: Int) -> None:
    """Let a seat that has not more hold `blocks` blocks."""
    seat = state.seat[number]
    if settings.caching:
        _grow(state.caches, rep, r, number, seat.blocks, blocks)
    rep.free -= blocks - seat.blocks
    seat.blocks = blocks


@outlined
def _grow(caches: Caches, rep: Record, r: Int, number: Int, before: Int, blocks: Int) -> None:
    prefix = caches.seat[number]
    for place in range(before, min(blocks, prefix.named)):
        caches.held[prefix.first + place] = _allocate(caches, r, rep.now)
    _take(caches, rep, r, blocks - max(before, prefix.named), rep.now)


@inlined
def fill(state: State, settings: Record, r: Int, number: Int) -> None:
    """The full blocks of what a seat has computed can be found from now on."""
    if settings.caching:
        _fill(state.caches, r, number, state.seat[number].computed // settings.block_size)


@outlined
def _fill(caches: Caches, r: Int, number: Int, full: Int) -> None:
    prefix = caches.seat[number]
    full = min(full, prefix.named)
    for place in range(prefix.filled, full):
        at = prefix.first + place
        before = np.int64(-1)
        if place > 0:
            before = np.int64(caches.held[at - 1])
        cache.name(caches.pool, r, caches.held[at], caches.ids[at], place, before)
    prefix.filled = full


@inlined
def release(state: State, settings: Record, rep: Record, r: Int, number: Int) -> None:
    """Take back a seat's blocks, the last first."""
    release_of(state, settings, rep, r, state.seat[number].request, state.seat[number].blocks)


@inlined
def release_of(
    state: State, settings: Record, rep: Record, r: Int, request: Int, blocks: Int
) -> None:
    """Take back the blocks of a request, the last first."""
    if settings.caching:
        _release(state.caches, rep, r, request, blocks)
    else:
        rep.free += blocks


@outlined
def _release(caches: Caches, rep: Record, r: Int, request: Int, blocks: Int) -> None:
    pool, first = caches.pool, caches.offsets[request]
    named = caches.offsets[request + 1] - first
    before = pool.cache[r].available
    place = blocks - 1
    while place >= 0:
        if place >= named:
            block = np.int64(rep.anonymous)
            rep.anonymous = pool.block[block].next
        else:
            block = np.int64(caches.held[first + place])
        cache.release(pool, r, block)
        place -= 1
    rep.free += pool.cache[r].available - before


@inlined
def precedes(state: State, one: Int, other: Int) -> Flag:
    """Whether seat `one` stands before seat `other` in the running list."""
    return state.caches.seat[one].order < state.caches.seat[other].order
