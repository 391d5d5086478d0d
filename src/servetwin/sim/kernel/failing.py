"""Engines that fail and come back: `reference/failing.py`, in flat arrays.

A jump ends at the last boundary that a failure leaves alone, so that a failure falls within
one iteration. With async scheduling the tokens of an iteration are stamped when it begins:
so what will interrupt it is looked up then. Where copies exist, it simply takes longer;
otherwise the replica is doomed, and nothing is stamped that will not happen.
"""

import numpy as np

from servetwin.sim.kernel import attribution
from servetwin.sim.kernel.anew import settle
from servetwin.sim.kernel.compile import inlined, outlined
from servetwin.sim.kernel.cost import duration
from servetwin.sim.kernel.gaps import bin_of
from servetwin.sim.kernel.jump import boundaries_by, boundary
from servetwin.sim.kernel.stages import pass_again
from servetwin.sim.kernel.state import CLOCK_END, FOREVER, LATE, Int, Record, State
from servetwin.sim.kernel.tree import set_time

__all__ = [
    "copied_until",
    "count_outage",
    "curb",
    "foresee",
    "next_failure",
    "outage",
    "redo",
    "run_again",
    "skip",
]


@inlined
def next_failure(state: State, settings: Record, r: Int) -> Int:
    """When the engine of a replica fails next."""
    outages, engine = state.outages, r % settings.engines
    at = outages.at[engine]
    return outages.time[at] if at < outages.first[engine + 1] else FOREVER


@outlined
def copied_until(state: State, settings: Record, rep: Record, r: Int) -> Int:
    """When the copies of what the last plan of a replica found are lost; -1: there are none.

    A neighbour that was up then fails next when it is known to, whatever happens until then.
    """
    outages, fault = state.outages, state.outages.fault[0]
    if fault.replicated == 0 or fault.neighbour == 0:
        return FOREVER if fault.replicated else np.int64(-1)
    holder = (r + 1) % settings.engines
    if outages.back_at[holder] != FOREVER or outages.returned[holder] >= rep.now:
        return np.int64(-1)
    return np.int64(next_failure(state, settings, holder))


@inlined
def skip(state: State, engine: Int, at: Int, back: Int) -> Int:
    """The failure after that numbered `at`: an engine that is down does not fail."""
    outages = state.outages
    while at < outages.first[engine + 1] and outages.time[at] <= back:
        at += 1
    return at


@outlined
def outage(state: State, settings: Record, now: Int, blocks: Int, longest: Int) -> Int:
    """`Failures.outage`; `longest` is 0 where no iteration is under way."""
    fault = state.outages.fault[0]
    time = np.float64(fault.detect) + settings.restart
    if fault.replicated:
        time += np.float64(blocks) * settings.restore_block + np.float64(fault.lag) * longest
    if now + time > np.float64(CLOCK_END):
        state.world[0].overrun = 1
        return np.int64(1)
    whole = fault.detect + settings.restart
    if fault.replicated:
        whole += blocks * settings.restore_block + fault.lag * longest
    return max(whole, np.int64(1))


@inlined
def count_outage(state: State, settings: Record, rep: Record, r: Int) -> None:
    """The iteration under way ends, which outages may have made longer."""
    outages = state.outages
    if settings.lag:
        outages.spent[r] += outages.coming[r]
        outages.coming[r] = 0
    elif rep.begun > rep.now:
        outages.spent[r] += rep.begun - rep.now


@outlined
def foresee(state: State, settings: Record, rep: Record, r: Int) -> None:
    """A failure will interrupt the iteration that begins now, before the next plan is made."""
    outages, last = state.outages, rep.staged_cost
    copied = copied_until(state, settings, rep, r)
    counted = rep.staged_decode - rep.redoing
    if settings.gaps and counted > 0:
        state.gaps[bin_of(last)] -= counted
    engine, begin = r % settings.engines, rep.now
    at = outages.at[engine]
    while at < outages.first[engine + 1] and outages.time[at] < begin + last:
        time = outages.time[at]
        if copied > time:
            begin = time + outage(state, settings, time, settings.capacity - rep.free, last)
            outages.back[at] = begin
        if copied <= max(time, begin):
            rep.doomed = 1
            settle(state, settings, rep, rep.step - 1)
            return
        at = skip(state, engine, at, begin)
    if begin > CLOCK_END - last:
        state.world[0].overrun = 1
        return
    outages.coming[r] = begin - rep.now
    rep.staged_cost = begin + last - rep.now
    if settings.gaps and counted > 0:
        state.gaps[bin_of(rep.staged_cost)] += counted


@outlined
def redo(state: State, settings: Record, rep: Record) -> None:
    """Some got their first new token from the last plan.

    Of those who decode what users have, and of those who paused in the plan before.
    """
    plan = rep.step - 1
    token = rep.now + rep.staged_cost * settings.lag
    number = rep.order_tail
    while number >= 0:
        seat = state.seat[number]
        request = seat.request
        had = state.outages.had[request]
        if seat.late == LATE:
            if settings.gaps:
                state.gaps[bin_of(token - state.finish[request])] += 1
            seat.late = 0
            rep.redoing -= 1
        elif seat.leave > plan and had > 0 and seat.generated + plan - seat.joined == had:
            if settings.gaps:
                state.gaps[bin_of(token - state.finish[request])] += 1
            attribution.resume(state, settings, rep, seat, token)
            rep.redoing -= 1
        number = seat.order_prev


@outlined
def curb(state: State, settings: Record, rep: Record, r: Int) -> None:
    """End the jump just planned before a failure, or at once where tokens are redone."""
    rep.begun = rep.now
    failure = next_failure(state, settings, r)
    if rep.doomed:
        rep.jump = 1
        set_time(state.times, settings.leaves, r, FOREVER)
    elif rep.redoing > 0 or boundary(rep, rep.jump) > failure:
        most = np.int64(1) if rep.redoing > 0 else rep.jump
        rep.jump = max(boundaries_by(rep, failure, most), np.int64(1))
        set_time(state.times, settings.leaves, r, boundary(rep, rep.jump))


@outlined
def run_again(state: State, settings: Record, rep: Record, r: Int, back: Int) -> None:
    """The iteration under way begins again when the engine is back; not with async scheduling."""
    last = rep.now + rep.cost - rep.begun
    if settings.stages > 0:
        last = pass_again(state, settings, rep, r, duration(state, settings, rep), back) - back
    if back > CLOCK_END - last:
        state.world[0].overrun = 1
        return
    rep.cost = rep.first = back + last - rep.now
    rep.begun = back
    set_time(state.times, settings.leaves, r, back + last)
