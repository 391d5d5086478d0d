"""Requests of an engine that has lost its KV begin anew: `reference/failing.py`, in flat arrays."""

import numpy as np

from servetwin.cache.kernel.pool import clear as clear_cache
from servetwin.cache.kernel.tiers import clear as clear_tiers
from servetwin.sim.kernel import attribution, heap, waiting
from servetwin.sim.kernel.compile import inlined, outlined
from servetwin.sim.kernel.state import SLOTS, Int, Record, State
from servetwin.types import Status

__all__ = ["begin_anew", "chain", "reset_request", "settle"]

OK = int(Status.OK)


@outlined
def settle(state: State, settings: Record, rep: Record, plan: Int) -> None:
    """Note what those have who decode in `plan`, the first that will not end, since `rep.now`."""
    number = rep.order_tail
    while number >= 0:
        seat = state.seat[number]
        if seat.leave > plan and seat.late == 0:
            request = seat.request
            tokens = seat.generated + plan - seat.joined
            state.generated[request] = tokens
            if tokens > state.outages.had[request]:
                state.finish[request] = rep.now
                others = rep.done_priced - seat.mark_priced
                attribution.spend(state, settings, rep, seat, rep.now - seat.mark - others)
        number = seat.order_prev


@outlined
def begin_anew(state: State, settings: Record, rep: Record, r: Int, now: Int) -> None:
    """All that the replica knew is gone: its requests queue up again, as they arrived."""
    if settings.lag == 0:
        settle(state, settings, rep, rep.step)
    head = _gather(state, settings, rep, r)
    _drop_loads(state, rep, r, now)
    if settings.by_priority:
        waiting.line_up(state, rep)
    request = rep.queue_head
    while request >= 0:
        reset_request(state, settings, request, 0)
        request = state.next_waiting[request] if request != rep.queue_tail else -1
    last = np.int64(-1)
    request = head
    while request >= 0:
        reset_request(state, settings, request, 1)
        rep.queue_length += 1
        last = np.int64(request)
        request = state.next_waiting[request]
    if last >= 0:
        state.next_waiting[last] = rep.queue_head
        if rep.queue_head < 0:
            rep.queue_tail = last
        rep.queue_head = head
    if settings.by_priority:
        waiting.heap_up(state, rep)
    rep.iterations += rep.cost > 0
    _clear(state, settings, rep, r)
    state.outages.lost[r] = settings.hands_over


@inlined
def _gather(state: State, settings: Record, rep: Record, r: Int) -> Int:
    """Chain all who are in the engine and have not finished, by arrival; return the first."""
    fault, head = state.outages.fault[0], np.int64(-1)
    for number in range(r * settings.max_seqs, (r + 1) * settings.max_seqs):
        seat = state.seat[number]
        if seat.request < 0 or state.status[seat.request] == OK:
            continue
        if seat.remote:
            fault.prompt_tokens += seat.input * (state.bridge.held[seat.request] == 0)
        elif seat.mark >= 0:
            ended = seat.computed - seat.mark_done - _under_way(state, settings, rep, number)
            fault.prompt_tokens += ended
        head = chain(state, settings, head, np.int64(seat.request))
    request = np.int64(rep.astray)
    while request >= 0:
        following = np.int64(state.next_waiting[request])
        head = chain(state, settings, head, request)
        request = following
    return head


@inlined
def _under_way(state: State, settings: Record, rep: Record, number: Int) -> Int:
    """Prompt tokens of a seat in plans that have not ended."""
    chunk = state.outages.chunk[number]
    if chunk.step == rep.step:
        return np.int64(chunk.tokens + (chunk.before if settings.lag else 0))
    if settings.lag and chunk.step == rep.step - 1:
        return np.int64(chunk.tokens)
    return np.int64(0)


@outlined
def chain(state: State, settings: Record, head: Int, request: Int) -> Int:
    """Insert a request by (arrival at this pool, number); return the first."""
    times = state.first_token if settings.fetches else state.arrival
    before, after = np.int64(-1), np.int64(head)
    key = times[request], np.int64(request)
    while after >= 0 and (times[after], after) < key:
        before, after = after, np.int64(state.next_waiting[after])
    state.next_waiting[request] = after
    if before < 0:
        return np.int64(request)
    state.next_waiting[before] = request
    return np.int64(head)


@outlined
def reset_request(state: State, settings: Record, request: Int, begun: Int) -> None:
    """A request begins anew, if it had begun; one whose prompt lies in another pool is fetched."""
    if settings.fetches:
        bridge = state.bridge
        if bridge.held[request] > 0 or bridge.handover[request] == 0:
            bridge.transfer[request] = 0
        if bridge.held[request] > 0:
            return
    outages, tokens = state.outages, state.generated[request]
    fault = outages.fault[0]
    outages.retries[request] += begun or tokens > 0
    outages.had[request] = max(outages.had[request], tokens)
    fault.prompts += tokens > 0
    fault.output_tokens += tokens
    state.generated[request] = 0
    outages.token[request] = 0


@outlined
def _drop_loads(state: State, rep: Record, r: Int, now: Int) -> None:
    """Strike the loads of the replica from those under way."""
    gate, loads = state.gate[0], state.loads
    if rep.loading == 0:
        return
    kept = 0
    for index in range(gate.loads):
        time, request = loads.time[index], loads.request[index]
        if state.home[request] == r:
            if state.seat[loads.seat[request]].remote == 0:
                loads.transfer[request] -= time - now
        else:
            heap.push(loads.time, loads.request, kept, time, request)
            kept += 1
    gate.loads = kept


@outlined
def _clear(state: State, settings: Record, rep: Record, r: Int) -> None:
    """Make the replica as it was in the beginning, but for its queue and what it has counted."""
    rep.batch = rep.live = rep.contexts = rep.seats = rep.prefills = 0
    rep.cost = rep.first = rep.second = rep.growth = rep.priced = rep.waited = 0
    rep.prefill_tokens = rep.pairs = rep.window_pairs = rep.chunks = rep.samples = 0
    rep.staged_cost = rep.staged_prefill = rep.staged_decode = rep.staged_context = 0
    rep.staged_priced = rep.leaving_blocks = rep.leaving_count = 0
    rep.ahead = rep.caught = rep.loading = rep.doomed = rep.redoing = rep.late = 0
    rep.jump = 1
    rep.blocks_before = 0
    rep.begun = rep.now
    rep.free = settings.capacity
    rep.leaving = rep.order_tail = rep.anonymous = rep.ready_head = rep.astray = -1
    first = r * settings.max_seqs
    for number in range(first, first + settings.max_seqs):
        state.seat[number].request = -1
        state.seat[number].late = 0
        if settings.scheduler != SLOTS:
            state.seat[number].order_next = number + 1
    if settings.scheduler != SLOTS:
        state.seat[first + settings.max_seqs - 1].order_next = -1
        rep.vacant = first
    for entry in range(state.ring.shape[1]):
        state.ring[r, entry] = -1
    for word in range(state.ring_used.shape[1]):
        state.ring_used[r, word] = 0
    for phase in range(state.phases.shape[1]):
        state.phases[r, phase] = 0
    if settings.caching:
        clear_cache(state.caches.pool, r)
        clear_tiers(state.caches.tiers, r)
