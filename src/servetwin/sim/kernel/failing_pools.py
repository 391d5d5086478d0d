"""Two pools whose engines fail, as in `reference/outages.py`."""

import numpy as np

from servetwin.cache.kernel.reference import by_reference
from servetwin.sim.kernel import handover, heap, prefix, waiting
from servetwin.sim.kernel.anew import chain, reset_request
from servetwin.sim.kernel.cluster import DONE, NEEDS_ROWS, OVERRUN, PAUSED
from servetwin.sim.kernel.compile import entry, inlined, outlined
from servetwin.sim.kernel.events import cut, end_load, next_arrival, reject, take_arrival, wake
from servetwin.sim.kernel.failures import happen, iterate_failing, send_up, somebody_waits
from servetwin.sim.kernel.jump import catch_up
from servetwin.sim.kernel.pools import ever_fits, free_source
from servetwin.sim.kernel.snapshots import take_before
from servetwin.sim.kernel.state import FOREVER, SLOTS, Flag, Int, Record, State

__all__ = ["run_failing_pools_slice"]


@entry
def run_failing_pools_slice(prefill_arrays: State, decode_arrays: State, most_events: Int) -> Int:
    """Simulate up to `most_events` events; the answers are those of `cluster.run_slice`."""
    prefill, decode = by_reference(prefill_arrays), by_reference(decode_arrays)
    world, link = prefill.world[0], prefill.bridge.link[0]
    own, other = prefill.settings[0], decode.settings[0]
    stop = world.events + most_events
    while world.events < stop:
        arrival = next_arrival(prefill, world)
        load = prefill.loads.time[0] if prefill.gate[0].loads > 0 else FOREVER
        fetch = decode.loads.time[0] if decode.gate[0].loads > 0 else FOREVER
        leave = prefill.bridge.time[0] if link.leaving > 0 else FOREVER
        now = min(arrival, load, fetch, prefill.times[1], leave, decode.times[1])
        if now == FOREVER and not (somebody_waits(prefill, own) or somebody_waits(decode, other)):
            return DONE
        now = min(now, prefill.outages.fault[0].next, decode.outages.fault[0].next)
        if now > world.snapshot_limit:
            return NEEDS_ROWS
        world.end = now
        world.events += 1
        if arrival == now:
            request = take_arrival(prefill, own, world)
            if ever_fits(prefill, decode, request):
                send_up(prefill, own, request, now, now)
            else:
                reject(prefill, own, request, now)
        elif load == now:
            _end_load(prefill, own, now)
        elif fetch == now:
            free_source(prefill, decode.loads.request[0], now)
            _end_load(decode, other, now)
        elif prefill.times[1] == now:
            iterate_failing(prefill, own, now)
        elif leave == now:
            send_up(decode, other, handover.next_request(prefill), now, now)
        elif decode.times[1] == now:
            iterate_failing(decode, other, now)
        elif _prefill_first(prefill, decode):
            happen(prefill, own, now)
            _void(prefill, decode, now)
        else:
            happen(decode, other, now)
        if world.overrun:
            return OVERRUN
    return PAUSED


@outlined
def _end_load(state: State, settings: Record, now: Int) -> None:
    end_load(state, settings, now)


@inlined
def _prefill_first(prefill: State, decode: State) -> Flag:
    """Which pool's failure, detection or return is next; its engines have the smaller numbers."""
    one, other = prefill.outages.fault[0], decode.outages.fault[0]
    return (one.next, one.kind) <= (other.next, other.kind)


@outlined
def _void(prefill: State, decode: State, now: Int) -> None:
    """Where prefill replicas have lost their KV, the decode pool computes what it was to fetch."""
    lost = prefill.outages.lost
    anything = False
    for r in range(lost.size):
        anything = anything or lost[r] > 0
    if not anything:
        return
    settings = decode.settings[0]
    for r in range(settings.replicas):
        _forget_prompts(prefill, decode, settings, r, now)
    _strike_loads(decode)
    for r in range(lost.size):
        lost[r] = 0


@inlined
def _is_lost(prefill: State, request: Int) -> Flag:
    bridge = prefill.bridge
    return bridge.held[request] > 0 and prefill.outages.lost[bridge.source[request]] > 0


@outlined
def _forget_prompts(prefill: State, decode: State, settings: Record, r: Int, now: Int) -> None:
    """Requests of a decode replica begin anew, whose KV was to come from where it is lost."""
    rep = decode.replica[r]
    if settings.interval > 0 and (rep.snapshot + 1) * settings.interval < now:
        take_before(decode, settings, rep, r, now)
    catch_up(decode, settings, rep, r, now)
    fetching = _end_transfers(prefill, decode, settings, rep, r)
    if settings.by_priority:
        waiting.line_up(decode, rep)
    request, changed = np.int64(rep.queue_head), np.int64(fetching >= 0)
    while request >= 0:
        if _is_lost(prefill, request):
            _begin_anew(decode, settings, request)
            changed = np.int64(1)
        request = np.int64(decode.next_waiting[request] if request != rep.queue_tail else -1)
    _queue_up(decode, rep, fetching)
    if settings.by_priority:
        waiting.heap_up(decode, rep)
    if not changed:
        return
    if rep.idle:
        wake(decode.times, settings, rep, r, now)
    else:
        rep.open = 0
        cut(decode.times, settings, rep, r, now)


@inlined
def _end_transfers(prefill: State, decode: State, settings: Record, rep: Record, r: Int) -> Int:
    """Chain those whose transfers are void, as they came; they have neither seat nor blocks now."""
    head = np.int64(-1)
    for number in range(r * settings.max_seqs, (r + 1) * settings.max_seqs):
        seat = decode.seat[number]
        if seat.request >= 0 and seat.remote and _is_lost(prefill, seat.request):
            head = chain(decode, settings, head, np.int64(seat.request))
    request = head
    while request >= 0:
        _give_up(decode, settings, rep, r, request)
        _begin_anew(decode, settings, request)
        request = np.int64(decode.next_waiting[request])
    return head


@inlined
def _queue_up(decode: State, rep: Record, head: Int) -> None:
    """Put a chain of requests before those who wait."""
    last, request = np.int64(-1), head
    while request >= 0:
        last, request = np.int64(request), np.int64(decode.next_waiting[request])
    if last >= 0:
        decode.next_waiting[last] = rep.queue_head
        if rep.queue_head < 0:
            rep.queue_tail = last
        rep.queue_head = head


@inlined
def _begin_anew(decode: State, settings: Record, request: Int) -> None:
    decode.outages.fault[0].prompt_tokens += decode.input_tokens[request]
    decode.bridge.held[request] = 0
    reset_request(decode, settings, request, 1)


@inlined
def _give_up(decode: State, settings: Record, rep: Record, r: Int, request: Int) -> None:
    """Take back the seat and the blocks of a request that waits for its transfer to end."""
    number = np.int64(decode.loads.seat[request])
    decode.loads.seat[request] = -1
    prefix.release(decode, settings, rep, r, number)
    decode.seat[number].request = -1
    if settings.scheduler != SLOTS:
        decode.seat[number].order_next = rep.vacant
        rep.vacant = number
    rep.loading -= 1
    rep.queue_length += 1


@outlined
def _strike_loads(decode: State) -> None:
    """Strike transfers that are void from those under way."""
    gate, loads = decode.gate[0], decode.loads
    kept = 0
    for index in range(gate.loads):
        time, request = loads.time[index], loads.request[index]
        if loads.seat[request] >= 0:
            heap.push(loads.time, loads.request, kept, time, request)
            kept += 1
    gate.loads = kept
