"""Requests that come to a decode pool: `reference/pools.py`, in flat arrays.

While its blocks come, a request is one that loads. Then it decodes at once.
"""

from servetwin.sim.kernel import prefix
from servetwin.sim.kernel.blocks import blocks_for
from servetwin.sim.kernel.compile import inlined, outlined
from servetwin.sim.kernel.gaps import bin_of
from servetwin.sim.kernel.loading import wait
from servetwin.sim.kernel.outages import mark_outage
from servetwin.sim.kernel.seating import claim_seat
from servetwin.sim.kernel.seats import start_decoding
from servetwin.sim.kernel.stages import mark_wait
from servetwin.sim.kernel.state import CLOCK_END, LATE, Flag, Int, Record, State

__all__ = ["begin", "count_first_gaps", "is_remote", "join"]


@inlined
def is_remote(state: State, settings: Record, request: Int) -> Flag:
    """Whether the KV of a waiting request is in the prefill pool."""
    return settings.fetches and state.bridge.held[request] > 0


@outlined
def begin(state: State, settings: Record, rep: Record, r: Int, hits: Int, blocks: Int) -> None:
    """Give the head of the queue `blocks`, and have those come that are not among its `hits`."""
    number = claim_seat(state, settings, rep, r)
    prefix.grow(state, settings, rep, r, number, blocks)
    seat = state.seat[number]
    seat.computed = seat.input
    seat.remote = 1
    missing = blocks_for(settings, seat.input) - hits
    wait(state, rep, number, _end_of_transfer(state, rep, r, seat.request, missing))


@inlined
def _end_of_transfer(state: State, rep: Record, r: Int, request: Int, blocks: Int) -> Int:
    bridge = state.bridge
    link, source = bridge.link[0], bridge.source[request]
    time = blocks * link.block_ps
    if link.layers > 0:
        share = (time + link.layers - 1) // link.layers
        computed = state.prefill_time[request]
        if state.stages.prefill_wait.size > 0:
            computed += state.stages.prefill_wait[request]
        time = max(share, time - computed)
    time = max(1, time + link.latency_ps)
    # The lanes of an engine share its link.
    sender, receiver = source % bridge.send_free.size, r % bridge.receive_free.size
    begin = max(rep.now, bridge.send_free[sender], bridge.receive_free[receiver])
    if begin > CLOCK_END - time:
        state.world[0].overrun = 1
        time = 0
    end = begin + time
    bridge.send_free[sender] = end
    bridge.receive_free[receiver] = end
    bridge.transfer[request] = end - rep.now
    return end


@outlined
def join(state: State, settings: Record, rep: Record, r: Int, number: Int) -> None:
    """Let a seat decode whose blocks have come, from the plan made now on."""
    seat = state.seat[number]
    seat.computed = seat.target
    seat.mark = rep.now
    seat.mark_priced = rep.done_priced
    mark_wait(state, settings, rep, seat.request)
    mark_outage(state, settings, seat.request)
    start_decoding(state, settings, rep, r, number, seat.target)
    state.bridge.handover[seat.request] = rep.now - state.first_token[seat.request]
    if settings.fails:
        seat.late = LATE  # so that `failing.redo` counts the gap, if it ends
        rep.redoing += 1
        return
    rep.joining += 1
    state.prefilling[r, settings.max_seqs - rep.joining] = number


@outlined
def count_first_gaps(state: State, settings: Record, rep: Record, r: Int) -> None:
    """Of those who join in the plan just priced, the next gap is longer than the plan."""
    end = rep.now + settings.lag * rep.staged_cost + rep.cost
    for index in range(settings.max_seqs - rep.joining, settings.max_seqs):
        number = state.prefilling[r, index]
        gap = end - state.finish[state.seat[number].request]
        if settings.gaps:
            state.gaps[bin_of(rep.cost)] -= 1
            state.gaps[bin_of(gap)] += 1
    rep.joining = 0
