"""Blocks run out, and priorities say who has to go: `Queues.victim` of the reference.

Who has to go may stand anywhere in the running list. So whoever is served before has its
tokens taken back, and where a request has to go for itself, those behind it are not served:
they pause for a plan.
"""

import numpy as np

from servetwin.sim.kernel import prefix, waiting
from servetwin.sim.kernel.blocks import blocks_for
from servetwin.sim.kernel.compile import outlined, spliced
from servetwin.sim.kernel.gaps import bin_of
from servetwin.sim.kernel.outages import redone
from servetwin.sim.kernel.seats import halt, preempt, start_decoding
from servetwin.sim.kernel.state import LATE, PAUSED, Flag, Int, Record, State

__all__ = ["go_on_late", "make_room"]


@outlined
def make_room(state: State, settings: Record, rep: Record, r: Int, phase: Int) -> tuple[Int, Int]:
    """Serve the running list in order, though blocks run out; `phase` is that of the plan.

    Return what is left for the unfinished prompt behind it: tokens, and blocks to take.
    """
    number = np.int64(rep.order_tail)
    while state.seat[number].order_prev >= 0:
        number = np.int64(state.seat[number].order_prev)
    while number >= 0:
        seat = state.seat[number]
        tokens = np.int64(0)
        need = np.int64(seat.leave > rep.step and seat.phase == phase)
        if seat.leave < 0:
            left = settings.budget - rep.batch
            tokens = np.int64(max(0, min(left, seat.target - seat.computed)))
            if tokens > 0:
                need = np.int64(blocks_for(settings, seat.computed + tokens) - seat.blocks)
                need = max(need, np.int64(0))
        while need > rep.free:
            victim, served = _last_in_rank(state, rep, number)
            following = np.int64(seat.order_next)
            grown = np.int64(served and state.seat[victim].phase == phase)
            preempt(state, settings, rep, r, victim, grown)
            if victim == number:
                _pause(state, settings, rep, r, following)
                return np.int64(0), np.int64(0)
        if seat.leave < 0:
            return tokens, need
        prefix.take(state, settings, rep, r, need, rep.now)
        number = np.int64(seat.order_next)
    return np.int64(0), np.int64(0)


@spliced
def _last_in_rank(state: State, rep: Record, number: Int) -> tuple[Int, Flag]:
    """The seat that counts least, and whether it decodes and stands before seat `number`."""
    seats = state.seat
    last, served, before = np.int64(-1), False, False
    other = np.int64(rep.order_tail)
    while other >= 0:
        if last < 0 or waiting.precedes(state, seats[last].request, seats[other].request):
            last, served = other, before and seats[other].leave > rep.step
        before = before or other == number
        other = np.int64(seats[other].order_prev)
    return last, served


@spliced
def _pause(state: State, settings: Record, rep: Record, r: Int, number: Int) -> None:
    """Leave those who decode out of the plan, from seat `number` to the end of the list."""
    while number >= 0:
        seat = state.seat[number]
        if seat.leave > rep.step:
            context = seat.context + rep.step - seat.joined
            halt(state, settings, rep, r, number)
            seat.generated = state.generated[seat.request]
            seat.context = context
            seat.late = PAUSED
            rep.late = 1
        number = np.int64(seat.order_next)


@outlined
def _expect(state: State, settings: Record, rep: Record, seat: Record) -> None:
    """Where engines fail, `failing.redo` counts the gap when it is known how long it was."""
    rep.redoing += 1
    if redone(state, settings, seat.request, seat.generated):
        seat.late = 0


@outlined
def go_on_late(state: State, settings: Record, rep: Record, r: Int, priced: Int) -> None:
    """Let those decode whom the plan before left out; once this one is `priced`, count gaps.

    Theirs are longer than the plan.
    """
    end = rep.now + settings.lag * rep.staged_cost + rep.cost
    number = np.int64(rep.order_tail)
    rep.late = 0
    while number >= 0:
        seat = state.seat[number]
        if seat.late == PAUSED:
            rep.late = 1
            if priced == 0:
                start_decoding(state, settings, rep, r, number, seat.context)
                seat.late = LATE
                if settings.fails:
                    _expect(state, settings, rep, seat)
        elif seat.late == LATE and settings.fails == 0:
            seat.late = 0
            if settings.gaps:
                state.gaps[bin_of(rep.cost)] -= 1
                state.gaps[bin_of(end - state.finish[seat.request])] += 1
        number = np.int64(seat.order_prev)
