"""Requests whose KV blocks come from tiers below HBM: `reference/tiered.py`, in flat arrays.

A request that loads has a seat and its blocks, but no place in the order of admission. When
its load has ended, its seat is `ready`, and is admitted before those who wait.
"""

import numpy as np

from servetwin.cache.kernel import tiers
from servetwin.sim.kernel import heap, prefix
from servetwin.sim.kernel.compile import inlined, outlined
from servetwin.sim.kernel.cost import price_of_chunk
from servetwin.sim.kernel.seating import claim_seat, line_up
from servetwin.sim.kernel.state import Flag, Int, Record, State
from servetwin.units import NOT_YET

__all__ = ["begin", "finish", "join", "wait"]


@inlined
def begin(
    state: State, settings: Record, rep: Record, r: Int, known: Int, hits: Int, blocks: Int
) -> Flag:
    """Let the head of the queue load what comes sooner so; False where nothing does.

    It has `hits` blocks in HBM, and gets `blocks` in all.
    """
    if settings.tiers == 0:
        return False
    return _begin(state, settings, rep, r, known, hits, blocks)


@outlined
def _begin(
    state: State, settings: Record, rep: Record, r: Int, known: Int, hits: Int, blocks: Int
) -> Flag:
    caches, loads, request = state.caches, state.loads, rep.queue_head
    size = settings.block_size
    first = caches.offsets[request] + hits
    last = min(caches.offsets[request + 1], caches.offsets[request] + (known - 1) // size)
    found = tiers.find(caches.tiers, r, caches.ids, first, last, rep.now)
    for k in range(found):
        caches.tiers.recompute[k] = price_of_chunk(state, settings, (k + 1) * size, hits * size)
    count = tiers.choose(caches.tiers, r, found, rep.now)
    if count == 0:
        return False
    end = tiers.load(caches.tiers, r, caches.ids, first, count, rep.now)
    number = claim_seat(state, settings, rep, r)
    prefix.grow(state, settings, rep, r, number, blocks)
    seat = state.seat[number]
    seat.computed += count * size
    if state.first_scheduled[request] == NOT_YET:
        caches.cached[request] = seat.computed
    loads.transfer[request] += end - rep.now
    wait(state, rep, number, end)
    return True


@outlined
def wait(state: State, rep: Record, number: Int, end: Int) -> None:
    """Put a seat aside until its blocks have come."""
    gate, loads, request = state.gate[0], state.loads, state.seat[number].request
    loads.seat[request] = number
    rep.loading += 1
    heap.push(loads.time, loads.request, gate.loads, end, request)
    gate.loads += 1


@outlined
def finish(state: State, settings: Record, rep: Record, r: Int) -> None:
    """End the load that is next, of a replica whose evictions until now have been made."""
    gate, loads = state.gate[0], state.loads
    number = loads.seat[loads.request[0]]
    heap.pop(loads.time, loads.request, gate.loads)
    gate.loads -= 1
    prefix.fill(state, settings, r, number)
    state.seat[number].ring_next = -1
    if rep.ready_head < 0:
        rep.ready_head = number
    else:
        state.seat[rep.ready_tail].ring_next = number
    rep.ready_tail = number


@inlined
def join(state: State, settings: Record, rep: Record) -> Int:
    """Give the first seat that is ready its place in the order of admission."""
    number = np.int64(rep.ready_head)
    rep.ready_head = state.seat[number].ring_next
    rep.loading -= 1
    line_up(state, settings, rep, number)
    return number
