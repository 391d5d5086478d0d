"""The order of events where engines fail, as in `reference/failing.py`."""

import numpy as np

from servetwin.cache.kernel.reference import by_reference
from servetwin.sim.kernel import failing, waiting
from servetwin.sim.kernel.anew import begin_anew
from servetwin.sim.kernel.cluster import DONE, NEEDS_ROWS, OVERRUN, PAUSED
from servetwin.sim.kernel.compile import entry, inlined, outlined
from servetwin.sim.kernel.cost import duration
from servetwin.sim.kernel.events import (
    end_load,
    go_on,
    hand,
    next_arrival,
    reach,
    reject,
    take_arrival,
    wake,
)
from servetwin.sim.kernel.kinds import fits, settings_of
from servetwin.sim.kernel.router import all_down, choose_among
from servetwin.sim.kernel.snapshots import take_before
from servetwin.sim.kernel.stages import take_back
from servetwin.sim.kernel.state import FOREVER, Flag, Int, Record, State
from servetwin.sim.kernel.tree import set_time, soonest

__all__ = ["happen", "iterate_failing", "run_failing_slice", "send_up", "somebody_waits"]

FAILED, DETECTED, BACK = range(3)
"""Kinds of events of an engine, in this order at one time."""


@entry
def run_failing_slice(arrays: State, most_events: Int) -> Int:
    """Simulate up to `most_events` events; the answers are those of `cluster.run_slice`."""
    state = by_reference(arrays)
    settings, fault = state.settings[0], state.outages.fault[0]
    world, gate = state.world[0], state.gate[0]
    stop = world.events + most_events
    while world.events < stop:
        arrival = next_arrival(state, world)
        load = state.loads.time[0] if gate.loads > 0 else FOREVER
        now = min(arrival, load, state.times[1])
        if now == FOREVER and not somebody_waits(state, settings):
            return DONE
        now = min(now, fault.next)
        if now > world.snapshot_limit:
            return NEEDS_ROWS
        world.end = now
        world.events += 1
        if arrival == now:
            request = take_arrival(state, settings, world)
            if fits(state, settings, request):
                send_up(state, settings, request, now, now)
            else:
                reject(state, settings, request, now)
        elif load == now:
            end_load(state, settings, now)
        elif state.times[1] == now:
            iterate_failing(state, settings, now)
        else:
            happen(state, settings, now)
        if world.overrun:
            return OVERRUN
    return PAUSED


@outlined
def happen(state: State, settings: Record, now: Int) -> None:
    """What is next of failures, detections and returns."""
    fault = state.outages.fault[0]
    if fault.kind == FAILED:
        _fail(state, settings, fault.engine, now)
    elif fault.kind == DETECTED:
        _detect(state, settings, fault.engine, now)
    else:
        _return(state, settings, fault.engine, now)


@outlined
def somebody_waits(state: State, settings: Record) -> Flag:
    """Whether requests wait for an engine that is down."""
    requests = np.int64(0)
    for r in range(settings.replicas):
        requests += state.outstanding[r]
    return requests > 0


@outlined
def send_up(state: State, settings: Record, request: Int, now: Int, before: Int) -> None:
    r = choose_among(state, settings, request, before)
    hand(state, settings, request, r, now, before)


@outlined
def iterate_failing(state: State, settings: Record, now: Int) -> None:
    r = soonest(state.times, settings.leaves)
    rep, own = state.replica[r], settings_of(state, settings, r)
    failing.count_outage(state, own, rep, r)
    reach(state, own, rep, r, now)
    if own.lag and failing.next_failure(state, own, r) < rep.now + rep.staged_cost:
        failing.foresee(state, own, rep, r)
    if rep.redoing > 0 and rep.doomed == 0:
        failing.redo(state, own, rep)
    go_on(state, own, rep, r)
    if rep.idle == 0:
        failing.curb(state, own, rep, r)


@inlined
def _look(state: State, time: Int, kind: Int, engine: Int) -> None:
    """Remember an event to come, if it is the first."""
    fault = state.outages.fault[0]
    if (time, kind, engine) < (fault.next, fault.kind, fault.engine):
        fault.next = time
        fault.kind = kind
        fault.engine = engine


@outlined
def _find_next(state: State, settings: Record) -> None:
    outages = state.outages
    outages.fault[0].next = FOREVER
    for engine in range(settings.engines):
        if outages.back_at[engine] == FOREVER:
            _look(state, failing.next_failure(state, settings, engine), FAILED, engine)
        _look(state, outages.detect_at[engine], DETECTED, engine)
        _look(state, outages.back_at[engine], BACK, engine)


@outlined
def _fail(state: State, settings: Record, engine: Int, now: Int) -> None:
    outages = state.outages
    fault, at = outages.fault[0], outages.at[engine]
    own = settings_of(state, settings, engine)
    blocks = longest = np.int64(0)
    for r in range(engine, settings.replicas, settings.engines):
        rep = state.replica[r]
        if settings.interval > 0 and (rep.snapshot + 1) * settings.interval < now:
            take_before(state, settings, rep, r, now)
        copied = failing.copied_until(state, settings, rep, r) > now
        outages.copied[r] = copied
        blocks += rep.blocks_before * copied
        if rep.idle == 0:
            fault.interrupted += 1
            if settings.lag == 0:
                time = duration(state, own, rep)
                longest = max(longest, time * copied)
                if settings.stages > 0:
                    take_back(state, settings, rep, r, time)
    back = outages.back[at]
    if back == 0:
        back = now + failing.outage(state, own, now, blocks, longest)
        outages.back[at] = back
    for stage in range(settings.stages):
        state.stages.free[engine, stage] = 0
    for r in range(engine, settings.replicas, settings.engines):
        _go_down(state, own, r, now, back)
    outages.detect_at[engine] = now + fault.detect
    outages.back_at[engine] = back
    outages.at[engine] = failing.skip(state, engine, at, back)
    if fault.neighbour:
        _lose_copies(state, settings, (engine + settings.engines - 1) % settings.engines, now)
    _find_next(state, settings)


@inlined
def _go_down(state: State, settings: Record, r: Int, now: Int, back: Int) -> None:
    rep = state.replica[r]
    if not state.outages.copied[r]:
        begin_anew(state, settings, rep, r, now)
        _park(state, settings, rep, r)
    elif rep.idle:
        _park(state, settings, rep, r)
    elif settings.lag == 0:
        failing.run_again(state, settings, rep, r, back)


@inlined
def _park(state: State, settings: Record, rep: Record, r: Int) -> None:
    """Let a replica look busy with an iteration that never ends."""
    rep.parked = 1
    rep.idle = 0
    rep.open = 0
    set_time(state.times, settings.leaves, r, FOREVER)


@outlined
def _lose_copies(state: State, settings: Record, engine: Int, now: Int) -> None:
    """The neighbour of an engine fails, which may be down and about to need its copies."""
    outages, lost = state.outages, False
    own = settings_of(state, settings, engine)
    for r in range(engine, settings.replicas, settings.engines):
        rep = state.replica[r]
        if outages.copied[r]:
            outages.copied[r] = 0
            lost = True
            if settings.interval > 0 and (rep.snapshot + 1) * settings.interval < now:
                take_before(state, settings, rep, r, now)
            if settings.stages > 0 and rep.parked == 0:
                take_back(state, own, rep, r, duration(state, own, rep))
            begin_anew(state, own, rep, r, now)
            _park(state, settings, rep, r)
    if not lost:
        return
    for stage in range(settings.stages):
        state.stages.free[engine, stage] = 0
    if outages.known[engine]:
        _reroute_from(state, settings, engine, now)


@outlined
def _detect(state: State, settings: Record, engine: Int, now: Int) -> None:
    outages = state.outages
    fault = outages.fault[0]
    outages.detect_at[engine] = FOREVER
    outages.known[engine] = 1
    fault.known += 1
    _reroute_from(state, settings, engine, now)
    _find_next(state, settings)


@outlined
def _reroute_from(state: State, settings: Record, engine: Int, now: Int) -> None:
    """Send those who wait for an engine that is known to be down to others."""
    fault = state.outages.fault[0]
    if fault.reroute and fault.known < settings.engines:
        for r in range(engine, settings.replicas, settings.engines):
            _reroute(state, settings, r, now)


@outlined
def _reroute(state: State, settings: Record, r: Int, now: Int) -> None:
    """Send those who wait to other engines, unless their last token is still to come, here."""
    rep = state.replica[r]
    if settings.interval > 0 and (rep.snapshot + 1) * settings.interval < now:
        take_before(state, settings, rep, r, now)
    if settings.by_priority:
        waiting.line_up(state, rep)
    left = rep.queue_length
    request = np.int64(rep.queue_head)
    rep.queue_head = -1
    rep.queue_length = 0
    while left > 0:
        following = np.int64(state.next_waiting[request])
        stays = settings.kinds and all_down(state, settings, request)
        if state.outages.token[request] > now or stays:
            if rep.queue_head < 0:
                rep.queue_head = request
            else:
                state.next_waiting[rep.queue_tail] = request
            rep.queue_tail = request
            state.next_waiting[request] = -1
            rep.queue_length += 1
        else:
            state.outstanding[r] -= 1
            state.outstanding_tokens[r] -= state.input_tokens[request]
            state.next_waiting[request] = -1
            state.outages.fault[0].rerouted += 1
            # Iterations that end now have ended.
            send_up(state, settings, request, now, now + 1)
        request = following
        left -= 1
    if settings.by_priority:
        waiting.heap_up(state, rep)


@outlined
def _return(state: State, settings: Record, engine: Int, now: Int) -> None:
    outages = state.outages
    outages.back_at[engine] = FOREVER
    outages.returned[engine] = now
    outages.known[engine] = 0
    outages.fault[0].known -= 1
    for r in range(engine, settings.replicas, settings.engines):
        rep = state.replica[r]
        outages.copied[r] = 0
        if rep.parked:
            rep.parked = 0
            rep.idle = 1
            if rep.queue_head >= 0 or rep.ready_head >= 0:
                wake(state.times, settings, rep, r, now)
    _find_next(state, settings)
