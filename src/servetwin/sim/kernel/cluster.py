"""The order of events: arrivals, loads and iteration ends of the same time, then by number."""

from servetwin.cache.kernel.reference import by_reference
from servetwin.sim.kernel.compile import entry, inlined
from servetwin.sim.kernel.events import (
    end_load,
    iterate,
    next_arrival,
    reject,
    send,
    take_arrival,
)
from servetwin.sim.kernel.kinds import fits
from servetwin.sim.kernel.state import FOREVER, Int, Record, State
from servetwin.sim.kernel.tree import soonest

__all__ = ["DONE", "NEEDS_ROWS", "OVERRUN", "PAUSED", "run_plain_slice", "run_slice"]

DONE, PAUSED, NEEDS_ROWS, OVERRUN = 0, 1, 2, 3


@entry
def run_slice(arrays: State, most_events: Int) -> Int:
    """Simulate up to `most_events` events.

    Return DONE, PAUSED, NEEDS_ROWS of snapshots, or OVERRUN: the clock has ended.
    """
    return _run(by_reference(arrays), arrays.settings[0], most_events)


@entry
def run_plain_slice(arrays: State, most_events: Int) -> Int:
    """`run_slice` of a run with `PLAIN_SETTINGS`: apart, so that its machine code has a name."""
    return _run(by_reference(arrays), arrays.settings[0], most_events)


@inlined
def _run(state: State, settings: Record, most_events: Int) -> Int:
    world, gate = state.world[0], state.gate[0]
    stop = world.events + most_events
    while world.events < stop:
        arrival = next_arrival(state, world)
        load = state.loads.time[0] if gate.loads > 0 else FOREVER
        wake = state.times[1]
        now = min(arrival, load, wake)
        if now == FOREVER:
            return DONE
        if now > world.snapshot_limit:
            return NEEDS_ROWS
        world.end = now
        world.events += 1
        if arrival == now:
            request = take_arrival(state, settings, world)
            if fits(state, settings, request):
                send(state, settings, request, now)
            else:
                reject(state, settings, request, now)
        elif load == now:
            end_load(state, settings, now)
        else:
            iterate(state, settings, soonest(state.times, settings.leaves), now)
        if world.overrun:
            return OVERRUN
    return PAUSED
