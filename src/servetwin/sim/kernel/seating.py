"""Seats of a replica: who has one, and in which order they were admitted."""

from servetwin.sim.kernel import prefix, waiting
from servetwin.sim.kernel.compile import inlined
from servetwin.sim.kernel.state import SLOTS, Int, Record, State

__all__ = ["claim_seat", "line_up", "take_seat", "vacate"]


@inlined
def take_seat(state: State, settings: Record, rep: Record, r: Int) -> Int:
    """Move the head of the waiting queue into a vacant seat, last in order of admission."""
    number = claim_seat(state, settings, rep, r)
    line_up(state, settings, rep, number)
    return number


@inlined
def claim_seat(state: State, settings: Record, rep: Record, r: Int) -> Int:
    """Move the head of the waiting queue into a vacant seat, not yet in order of admission."""
    request = rep.queue_head
    if settings.by_priority:
        waiting.pop(state, rep)
    else:
        rep.queue_head = state.next_waiting[request]
    rep.queue_length -= 1
    seats = state.seat
    if settings.scheduler == SLOTS:
        number = r * settings.max_seqs
        while seats[number].request >= 0:
            number += 1
    else:
        number = rep.vacant
        rep.vacant = seats[number].order_next
    seat = seats[number]
    seat.request = request
    seat.input = state.input_tokens[request]
    seat.output = state.output_tokens[request]
    seat.generated = state.generated[request]
    seat.target = seat.input + seat.generated
    seat.computed = 0
    seat.leave = -1
    seat.mark = -1
    seat.remote = 0
    prefix.begin(state, settings, rep, r, number)
    return number


@inlined
def line_up(state: State, settings: Record, rep: Record, number: Int) -> None:
    """Put a seat last in the order of admission."""
    seats = state.seat
    seats[number].order_prev = rep.order_tail
    seats[number].order_next = -1
    if rep.order_tail >= 0:
        seats[rep.order_tail].order_next = number
    rep.order_tail = number
    rep.seats += 1
    if settings.caching:
        order = number if settings.scheduler == SLOTS else rep.admitted
        state.caches.seat[number].order = order
        rep.admitted += 1


@inlined
def vacate(state: State, settings: Record, rep: Record, number: Int) -> None:
    """Strike the seat from the order of admission and give it back."""
    seats = state.seat
    before, after = seats[number].order_prev, seats[number].order_next
    if before >= 0:
        seats[before].order_next = after
    if after >= 0:
        seats[after].order_prev = before
    else:
        rep.order_tail = before
    seats[number].request = -1
    if settings.scheduler != SLOTS:
        seats[number].order_next = rep.vacant
        rep.vacant = number
    rep.seats -= 1
