"""The order of events with a prefill pool and a decode pool, as in `reference/pools.py`."""

from servetwin.cache.kernel.reference import by_reference
from servetwin.sim.kernel import handover
from servetwin.sim.kernel.cluster import DONE, NEEDS_ROWS, OVERRUN, PAUSED
from servetwin.sim.kernel.compile import entry, inlined, outlined
from servetwin.sim.kernel.events import (
    end_load,
    holds,
    iterate,
    next_arrival,
    reject,
    send,
    take_arrival,
    wake,
)
from servetwin.sim.kernel.snapshots import take_before
from servetwin.sim.kernel.state import FOREVER, Flag, Int, State
from servetwin.sim.kernel.tree import soonest

__all__ = ["ever_fits", "free_source", "run_pools_slice"]


@entry
def run_pools_slice(prefill_arrays: State, decode_arrays: State, most_events: Int) -> Int:
    """Simulate up to `most_events` events; the answers are those of `cluster.run_slice`."""
    prefill, decode = by_reference(prefill_arrays), by_reference(decode_arrays)
    world, link = prefill.world[0], prefill.bridge.link[0]
    stop = world.events + most_events
    while world.events < stop:
        arrival = next_arrival(prefill, world)
        load = prefill.loads.time[0] if prefill.gate[0].loads > 0 else FOREVER
        fetch = decode.loads.time[0] if decode.gate[0].loads > 0 else FOREVER
        leave = prefill.bridge.time[0] if link.leaving > 0 else FOREVER
        now = min(arrival, load, fetch, prefill.times[1], leave, decode.times[1])
        if now == FOREVER:
            return DONE
        if now > world.snapshot_limit:
            return NEEDS_ROWS
        world.end = now
        world.events += 1
        if arrival == now:
            request = take_arrival(prefill, prefill.settings[0], world)
            if ever_fits(prefill, decode, request):
                _send(prefill, request, now)
            else:
                reject(prefill, prefill.settings[0], request, now)
        elif load == now:
            _end_load(prefill, now)
        elif fetch == now:
            free_source(prefill, decode.loads.request[0], now)
            _end_load(decode, now)
        elif prefill.times[1] == now:
            _iterate(prefill, now)
        elif leave == now:
            _send(decode, handover.next_request(prefill), now)
        else:
            _iterate(decode, now)
        if world.overrun:
            return OVERRUN
    return PAUSED


@inlined
def ever_fits(prefill: State, decode: State, request: Int) -> Flag:
    """Whether the prefill pool could hold its input, and the decode pool all of it."""
    inputs, outputs = prefill.input_tokens[request], prefill.bridge.outputs[request]
    if not holds(prefill.settings[0], inputs, 1):
        return False
    return outputs == 1 or holds(decode.settings[0], inputs, outputs)


@outlined
def _send(state: State, request: Int, now: Int) -> None:
    send(state, state.settings[0], request, now)


@outlined
def _end_load(state: State, now: Int) -> None:
    end_load(state, state.settings[0], now)


@outlined
def _iterate(state: State, now: Int) -> None:
    settings = state.settings[0]
    iterate(state, settings, soonest(state.times, settings.leaves), now)


@outlined
def free_source(prefill: State, request: Int, now: Int) -> None:
    """Free the blocks of a transfer that ends; a load in the decode pool has none there."""
    if prefill.bridge.held[request] == 0:
        return
    settings, r = prefill.settings[0], prefill.bridge.source[request]
    rep = prefill.replica[r]
    if settings.interval > 0 and (rep.snapshot + 1) * settings.interval < now:
        take_before(prefill, settings, rep, r, now)
    handover.let_go(prefill, settings, rep, r, request)
    if rep.idle:
        wake(prefill.times, settings, rep, r, now)
