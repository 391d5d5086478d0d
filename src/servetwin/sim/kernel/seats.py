"""A request that has a seat: it starts to decode, loses the seat, or leaves."""

from servetwin.sim.kernel import (
    adapters,
    attribution,
    handover,
    heap,
    outages,
    prefix,
    ring,
    waiting,
)
from servetwin.sim.kernel.blocks import blocks_for, phase_of
from servetwin.sim.kernel.compile import inlined, outlined
from servetwin.sim.kernel.gaps import bin_of
from servetwin.sim.kernel.seating import vacate
from servetwin.sim.kernel.state import CLOCK_END, FOREVER, STATIC, Int, Record, State
from servetwin.types import Status

__all__ = [
    "disband",
    "finish_prompt",
    "halt",
    "leave_ring",
    "preempt",
    "release_followers",
    "return_leaving",
    "start_decoding",
]

OK = int(Status.OK)


@inlined
def finish_prompt(state: State, settings: Record, rep: Record, r: Int, number: Int) -> None:
    """The plan before this one sampled the first token behind the seat's prompt."""
    seat = state.seat[number]
    request = seat.request
    if rep.doomed == 0 and not outages.redone(state, settings, request, seat.generated + 1):
        token = rep.now + rep.staged_cost * settings.lag
        if seat.generated == 0:
            state.first_token[request] = token
        elif settings.gaps:
            state.gaps[bin_of(token - state.finish[request])] += 1
        attribution.resume(state, settings, rep, seat, token)
    seat.generated += 1
    if seat.generated == seat.output:
        _finish(state, settings, rep, r, number)
        if settings.scheduler == STATIC:  # it goes on as padding
            rep.batch += 1
            rep.contexts += seat.target + 1
        return
    start_decoding(state, settings, rep, r, number, seat.target + 1)
    if outages.redone(state, settings, request, seat.generated):
        rep.redoing += 1


@inlined
def start_decoding(
    state: State, settings: Record, rep: Record, r: Int, number: Int, context: Int
) -> None:
    """From this plan on, whose decode reads `context` tokens."""
    seat = state.seat[number]
    seat.context = context
    seat.joined = rep.step
    seat.leave = rep.step + seat.output - seat.generated
    ring.insert(state, settings, r, number)
    rep.batch += 1
    rep.live += 1
    rep.contexts += context
    if settings.loras:
        adapters.count(state, rep, r, seat.request, 1)
    if settings.grows:
        seat.phase = phase_of(settings, rep.step + 1 - seat.context)
        state.phases[r, seat.phase] += 1


@inlined
def leave_ring(state: State, settings: Record, rep: Record, r: Int) -> None:
    """Let those go whose last token the plan before this one samples."""
    number = ring.take(state, settings, r, rep.step)
    while number >= 0:
        following = state.seat[number].ring_next
        rep.live -= 1
        if settings.scheduler != STATIC:
            _stop_decoding(state, settings, rep, r, number)
        _finish(state, settings, rep, r, number)
        number = following


@inlined
def _stop_decoding(state: State, settings: Record, rep: Record, r: Int, number: Int) -> None:
    """Take the seat out of the batch and note the blocks it still holds."""
    seat = state.seat[number]
    context = seat.context + rep.step - seat.joined
    rep.batch -= 1
    rep.contexts -= context
    if settings.loras:
        adapters.count(state, rep, r, seat.request, -1)
    if settings.grows:
        state.phases[r, seat.phase] -= 1
        seat.blocks = blocks_for(settings, context - 1)


@inlined
def _finish(state: State, settings: Record, rep: Record, r: Int, number: Int) -> None:
    """Stamp the end of a request; its seat and blocks return when the engine knows."""
    if rep.doomed:
        _note_leaving(state, rep, number, -1, rep.leaving)
        return
    seat = state.seat[number]
    request = seat.request
    finish = rep.now + rep.staged_cost * settings.lag
    attribution.pause(state, settings, rep, seat, finish)
    state.finish[request] = finish
    if settings.hands_over and handover.leave(state, seat, finish):
        seat.blocks = 0  # they stay, but are no longer the seat's
    else:
        state.status[request] = OK
        if settings.closed_loop:
            release_followers(state, request, finish)
    if settings.scheduler == STATIC:
        _depart(state, r, request)
        return
    if settings.lag == 0:
        _depart(state, r, request)
        if settings.caching:  # once all are known who leave now: their order matters
            _line_up(state, rep, number)
        else:
            rep.free += seat.blocks
            vacate(state, settings, rep, number)
        return
    state.due_time[r] = finish
    state.due[r] += 1
    state.due_tokens[r] += seat.input
    if settings.caching:
        _line_up(state, rep, number)
        return
    _note_leaving(state, rep, number, -1, rep.leaving)


@outlined
def _line_up(state: State, rep: Record, number: Int) -> None:
    """Note that a seat leaves, behind those before it in the running list."""
    before, after = -1, rep.leaving
    while after >= 0 and prefix.precedes(state, after, number):
        before, after = after, state.seat[after].ring_next
    _note_leaving(state, rep, number, before, after)


@inlined
def _note_leaving(state: State, rep: Record, number: Int, before: Int, after: Int) -> None:
    """List a seat that leaves, between two others of which there may be none (-1)."""
    seats = state.seat
    seats[number].leave = rep.step
    seats[number].ring_next = after
    seats[number].ring_prev = before
    if after >= 0:
        seats[after].ring_prev = number
    if before >= 0:
        seats[before].ring_next = number
    else:
        rep.leaving = number
    rep.leaving_count += 1
    rep.leaving_blocks += seats[number].blocks


@inlined
def _depart(state: State, r: Int, request: Int) -> None:
    state.outstanding[r] -= 1
    state.outstanding_tokens[r] -= state.input_tokens[request]


@outlined
def release_followers(state: State, request: Int, now: Int) -> None:
    """Schedule the arrivals of those who waited for `request` to end."""
    world = state.world[0]
    child = state.child[request]
    while child >= 0:
        if state.think[child] > CLOCK_END - now:
            world.overrun = 1
        arrival = now + state.think[child]
        state.arrival[child] = arrival
        heap.push(state.heap_time, state.heap_request, world.heap_size, arrival, child)
        world.heap_size += 1
        child = state.sibling[child]


@outlined
def disband(state: State, settings: Record, rep: Record, r: Int) -> None:
    """A static batch is done: everybody leaves at once, in order of admission."""
    number = rep.order_tail
    while state.seat[number].order_prev >= 0:
        number = state.seat[number].order_prev
    while number >= 0:
        following = state.seat[number].order_next
        prefix.release(state, settings, rep, r, number)
        vacate(state, settings, rep, number)
        number = following
    rep.batch = 0
    rep.contexts = 0


@inlined
def return_leaving(state: State, settings: Record, rep: Record, r: Int) -> None:
    """Take back the seats and blocks of those who had left when the last plan was made."""
    number = rep.leaving
    while number >= 0:
        following = state.seat[number].ring_next
        if settings.caching:
            prefix.release(state, settings, rep, r, number)
        vacate(state, settings, rep, number)
        number = following
    rep.leaving = -1
    rep.leaving_count = 0
    if settings.caching == 0:
        rep.free += rep.leaving_blocks
    rep.leaving_blocks = 0
    state.outstanding[r] -= state.due[r]
    state.outstanding_tokens[r] -= state.due_tokens[r]
    state.due[r] = 0
    state.due_tokens[r] = 0


@outlined
def preempt(state: State, settings: Record, rep: Record, r: Int, number: Int, grown: Int) -> None:
    """Drop a request, to which the plan at work has given `grown` blocks.

    It loses all its blocks, and returns to the queue's head, or to its place in the heap.
    """
    seat = state.seat[number]
    request = seat.request
    state.preemptions[request] += 1
    finishes = False
    if rep.prefills > 0 and seat.computed < seat.target:
        rep.prefills = 0
    elif seat.leave == rep.step:
        finishes = True
        _unlink_leaving(state, rep, number)
        if rep.doomed:
            state.next_waiting[request] = rep.astray
            rep.astray = request
    else:
        halt(state, settings, rep, r, number)
        seat.blocks += grown
        seat.late = 0
    prefix.release(state, settings, rep, r, number)
    vacate(state, settings, rep, number)
    if finishes:
        return
    rep.queue_length += 1
    if settings.by_priority:
        rep.queue_head = waiting.meld(state, rep.queue_head, request)
        return
    state.next_waiting[request] = rep.queue_head
    if rep.queue_head < 0:
        rep.queue_tail = request
    rep.queue_head = request


@outlined
def halt(state: State, settings: Record, rep: Record, r: Int, number: Int) -> None:
    """Take a seat out of the plan at work; note how many tokens it has, and when the last came."""
    seat = state.seat[number]
    rep.live -= 1
    ring.remove(state, settings, r, number)
    _stop_decoding(state, settings, rep, r, number)
    request = seat.request
    token = rep.now + rep.staged_cost * settings.lag
    if settings.fails:
        state.outages.token[request] = FOREVER if rep.doomed else token
    if rep.doomed:
        return  # `failing.settle` has noted the rest
    tokens = seat.output - (seat.leave - rep.step)
    state.generated[request] = tokens
    if outages.redone(state, settings, request, tokens):
        rep.redoing -= 1
    elif seat.late:
        rep.redoing -= settings.fails
    else:  # else the last came before it was left out
        state.finish[request] = token
        attribution.pause(state, settings, rep, seat, token)
        seat.mark = token
        seat.mark_priced = rep.done_priced + settings.lag * rep.staged_priced


@inlined
def _unlink_leaving(state: State, rep: Record, number: Int) -> None:
    """Its last token is on the way, so it need not come back."""
    seats = state.seat
    after, before = seats[number].ring_next, seats[number].ring_prev
    if after >= 0:
        seats[after].ring_prev = before
    if before >= 0:
        seats[before].ring_next = after
    else:
        rep.leaving = after
    rep.leaving_count -= 1
    rep.leaving_blocks -= seats[number].blocks
