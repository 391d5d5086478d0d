"""KV blocks that outlive their request: `reference/prefix.py`, in flat arrays.

A seat knows which block it holds at each place of its input that the workload names
(`State.held`). All its other blocks are anonymous, and one is as good as another: the replica
keeps those in use on one stack, and a seat only their number. Without caching a seat's
blocks are numbers altogether; either way `rep.free` counts those that nobody uses.
"""

import numpy as np

from servetwin.cache.kernel import pool as cache
from servetwin.cache.kernel.state import Pool
from servetwin.sim.kernel.compile import inlined, outlined
from servetwin.sim.kernel.state import SLOTS, Flag, Int, Record, State

__all__ = ["begin", "fill", "find", "grow", "precedes", "release", "take"]


@inlined
def find(state: State, settings: Record, r: Int, request: Int, known: Int) -> tuple[Int, Int]:
    """Leading blocks of a waiting request that are cached, and how many of them nobody uses.

    Short of the whole: of `known` tokens, one must be computed.
    """
    if settings.caching:
        return _find(state, settings, r, request, known)
    return np.int64(0), np.int64(0)


@outlined
def _find(state: State, settings: Record, r: Int, request: Int, known: Int) -> tuple[Int, Int]:
    pool = state.pool
    first = state.offsets[request]
    most = min(state.offsets[request + 1] - first, (known - 1) // settings.block_size)
    hits = np.int64(0)
    idle = np.int64(0)
    while hits < most:
        number = cache.lookup(pool, r, state.ids[first + hits])
        if number < 0:
            break
        idle += pool.block[number].refs == 0
        hits += 1
    return hits, idle


@outlined
def begin(state: State, settings: Record, rep: Record, r: Int, number: Int) -> None:
    """Give a seat that was just taken the blocks that it finds computed."""
    pool, seat, prefix = state.pool, state.seat[number], state.prefix[number]
    request = seat.request
    first = state.offsets[request]
    prefix.first = first
    prefix.named = state.offsets[request + 1] - first
    prefix.order = number if settings.scheduler == SLOTS else rep.admitted
    rep.admitted += 1
    hits, _ = _find(state, settings, r, request, seat.target)
    before = pool.cache[r].available
    for place in range(hits):
        block = np.int64(cache.lookup(pool, r, state.ids[first + place]))
        cache.acquire(pool, r, block)
        state.held[first + place] = block
    rep.free -= before - pool.cache[r].available
    prefix.filled = hits
    seat.blocks = hits
    seat.computed = hits * settings.block_size
    if state.preemptions[request] == 0:
        state.cached[request] = seat.computed


@inlined
def take(state: State, settings: Record, rep: Record, r: Int, count: Int) -> None:
    """Hand out anonymous blocks, of which `count` must be free."""
    if settings.caching:
        _take(state.pool, rep, r, count)
    rep.free -= count


@outlined
def _take(pool: Pool, rep: Record, r: Int, count: Int) -> None:
    for _ in range(count):
        block = cache.allocate(pool, r)
        pool.block[block].next = rep.anonymous
        rep.anonymous = block


@inlined
def grow(state: State, settings: Record, rep: Record, r: Int, number: Int, blocks: Int) -> None:
    """Let a seat that has not more hold `blocks` blocks."""
    seat = state.seat[number]
    if settings.caching:
        _grow(state, rep, r, number, blocks)
    rep.free -= blocks - seat.blocks
    seat.blocks = blocks


@outlined
def _grow(state: State, rep: Record, r: Int, number: Int, blocks: Int) -> None:
    seat, prefix = state.seat[number], state.prefix[number]
    for place in range(seat.blocks, min(blocks, prefix.named)):
        state.held[prefix.first + place] = cache.allocate(state.pool, r)
    _take(state.pool, rep, r, blocks - max(seat.blocks, prefix.named))


@inlined
def fill(state: State, settings: Record, r: Int, number: Int) -> None:
    """The full blocks of what a seat has computed can be found from now on."""
    if settings.caching:
        _fill(state, settings, r, number)


@outlined
def _fill(state: State, settings: Record, r: Int, number: Int) -> None:
    prefix = state.prefix[number]
    full = min(prefix.named, state.seat[number].computed // settings.block_size)
    for place in range(prefix.filled, full):
        at = prefix.first + place
        before = np.int64(-1)
        if place > 0:
            before = np.int64(state.held[at - 1])
        cache.name(state.pool, r, state.held[at], state.ids[at], place, before)
    prefix.filled = full


@inlined
def release(state: State, settings: Record, rep: Record, r: Int, number: Int) -> None:
    """Take back a seat's blocks, the last first."""
    if settings.caching:
        _release(state, rep, r, number)
    else:
        rep.free += state.seat[number].blocks


@outlined
def _release(state: State, rep: Record, r: Int, number: Int) -> None:
    pool, prefix = state.pool, state.prefix[number]
    before = pool.cache[r].available
    place = state.seat[number].blocks - 1
    while place >= 0:
        if place >= prefix.named:
            block = np.int64(rep.anonymous)
            rep.anonymous = pool.block[block].next
        else:
            block = np.int64(state.held[prefix.first + place])
        cache.release(pool, r, block)
        place -= 1
    rep.free += pool.cache[r].available - before


@inlined
def precedes(state: State, one: Int, other: Int) -> Flag:
    """Whether seat `one` stands before seat `other` in the running list."""
    return state.prefix[one].order < state.prefix[other].order
