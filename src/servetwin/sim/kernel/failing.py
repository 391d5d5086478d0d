"""Engines that fail and come back: `reference/failing.py`, in flat arrays.

A jump ends at the last boundary that a failure leaves alone, so that a failure falls within
one iteration. With async scheduling the tokens of an iteration are stamped when it begins:
so what will interrupt it is looked up then. Where copies exist, it simply takes longer;
otherwise the replica is doomed, and nothing is stamped that will not happen.
"""

import numpy as np

from servetwin.cache.kernel.pool import clear as clear_cache
from servetwin.cache.kernel.tiers import clear as clear_tiers
from servetwin.sim.kernel import attribution, heap
from servetwin.sim.kernel.compile import inlined, outlined
from servetwin.sim.kernel.cost import duration
from servetwin.sim.kernel.gaps import bin_of
from servetwin.sim.kernel.jump import boundaries_by, boundary
from servetwin.sim.kernel.stages import pass_again
from servetwin.sim.kernel.state import CLOCK_END, FOREVER, SLOTS, Int, Record, State
from servetwin.sim.kernel.tree import set_time
from servetwin.types import Status

__all__ = [
    "begin_anew",
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

OK = int(Status.OK)


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
            _settle(state, settings, rep, rep.step - 1)
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
def _settle(state: State, settings: Record, rep: Record, plan: Int) -> None:
    """Note what those have who decode in `plan`, the first that will not end, since `rep.now`."""
    number = rep.order_tail
    while number >= 0:
        seat = state.seat[number]
        if seat.leave > plan:
            request = seat.request
            tokens = seat.generated + plan - seat.joined
            state.generated[request] = tokens
            if tokens > state.outages.had[request]:
                state.finish[request] = rep.now
                others = rep.done_priced - seat.mark_priced
                attribution.spend(state, settings, rep, seat, rep.now - seat.mark - others)
        number = seat.order_prev


@outlined
def redo(state: State, settings: Record, rep: Record) -> None:
    """Of those who decode what users have, some got their first new token from the last plan."""
    plan = rep.step - 1
    token = rep.now + rep.staged_cost * settings.lag
    number = rep.order_tail
    while number >= 0:
        seat = state.seat[number]
        request = seat.request
        had = state.outages.had[request]
        if seat.leave > plan and had > 0 and seat.generated + plan - seat.joined == had:
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


@outlined
def begin_anew(state: State, settings: Record, rep: Record, r: Int, now: Int) -> None:
    """All that the replica knew is gone: its requests queue up again, as they arrived."""
    if settings.lag == 0:
        _settle(state, settings, rep, rep.step)
    head = _gather(state, settings, rep, r)
    _drop_loads(state, rep, r, now)
    last, count = np.int64(-1), 0
    request = head
    while request >= 0:
        _reset_request(state, request, 1)
        last, count = np.int64(request), count + 1
        request = state.next_waiting[request]
    request = rep.queue_head
    while request >= 0:
        _reset_request(state, request, 0)
        request = state.next_waiting[request] if request != rep.queue_tail else -1
    if last >= 0:
        state.next_waiting[last] = rep.queue_head
        if rep.queue_head < 0:
            rep.queue_tail = last
        rep.queue_head = head
        rep.queue_length += count
    rep.iterations += rep.cost > 0
    _clear(state, settings, rep, r)


@inlined
def _gather(state: State, settings: Record, rep: Record, r: Int) -> Int:
    """Chain all who are in the engine and have not finished, by arrival; return the first."""
    fault, head = state.outages.fault[0], np.int64(-1)
    for number in range(r * settings.max_seqs, (r + 1) * settings.max_seqs):
        seat = state.seat[number]
        if seat.request < 0 or state.status[seat.request] == OK:
            continue
        if seat.mark >= 0:
            ended = seat.computed - seat.mark_done - _under_way(state, settings, rep, number)
            fault.prompt_tokens += ended
        head = _chain(state, head, np.int64(seat.request))
    request = np.int64(rep.astray)
    while request >= 0:
        following = np.int64(state.next_waiting[request])
        head = _chain(state, head, request)
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
def _chain(state: State, head: Int, request: Int) -> Int:
    """Insert a request by (arrival, number); return the first."""
    before, after = np.int64(-1), np.int64(head)
    key = state.arrival[request], np.int64(request)
    while after >= 0 and (state.arrival[after], after) < key:
        before, after = after, np.int64(state.next_waiting[after])
    state.next_waiting[request] = after
    if before < 0:
        return np.int64(request)
    state.next_waiting[before] = request
    return np.int64(head)


@inlined
def _reset_request(state: State, request: Int, begun: Int) -> None:
    """A request begins anew, if it had begun."""
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
    rep.ahead = rep.caught = rep.loading = rep.doomed = rep.redoing = 0
    rep.jump = 1
    rep.blocks_before = 0
    rep.begun = rep.now
    rep.free = settings.capacity
    rep.leaving = rep.order_tail = rep.anonymous = rep.ready_head = rep.astray = -1
    first = r * settings.max_seqs
    for number in range(first, first + settings.max_seqs):
        state.seat[number].request = -1
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
