"""What the next iteration computes: the six schedulers of `reference/schedulers.py`.

Decoding sequences are served as a whole, since they always come first and always fit the
budget; so a plan loops only over prompts.
"""

import numpy as np

from servetwin.sim.kernel import (
    adapters,
    attribution,
    fetching,
    loading,
    outages,
    prefix,
    priority,
)
from servetwin.sim.kernel.blocks import blocks_for
from servetwin.sim.kernel.compile import inlined, outlined, spliced
from servetwin.sim.kernel.cost import window_pairs
from servetwin.sim.kernel.seating import take_seat
from servetwin.sim.kernel.seats import preempt
from servetwin.sim.kernel.state import (
    FOREVER,
    ORCA,
    SARATHI,
    SLOTS,
    STATIC,
    Flag,
    Int,
    Record,
    State,
)
from servetwin.units import NOT_YET

__all__ = ["make_plan"]


@spliced
def make_plan(state: State, settings: Record, rep: Record, r: Int) -> Flag:
    """Fill the replica's plan; return whether it had to preempt."""
    rep.prefill_tokens = 0
    rep.pairs = 0
    rep.window_pairs = 0
    rep.chunks = 0
    rep.samples = 0
    rep.prompt_adapters = 0
    rep.prompt_adapted = 0
    preempted = False
    if settings.grows:
        preempted = _plan_chunked(state, settings, rep, r)
    elif settings.scheduler == ORCA:
        _plan_orca(state, settings, rep, r)
    elif settings.scheduler == STATIC:
        _plan_static(state, settings, rep, r)
    elif settings.scheduler == SLOTS:
        _plan_slots(state, settings, rep, r)
    rep.samples += rep.batch
    used = settings.capacity - rep.free
    if used > rep.peak:
        rep.peak = used
    return preempted


@inlined
def _compute(state: State, settings: Record, rep: Record, r: Int, number: Int, tokens: Int) -> None:
    """Put the next `tokens` prompt tokens of a seat, which has the blocks, into the plan."""
    seat = state.seat[number]
    done = seat.computed
    if state.first_scheduled[seat.request] == NOT_YET:
        state.first_scheduled[seat.request] = rep.now
    if seat.mark < 0:
        attribution.begin_prompt(state, settings, rep, seat)
    seat.computed = done + tokens
    if seat.computed == seat.target:
        rep.samples += 1
    else:
        rep.split_chunks += 1
    rep.prefill_tokens += tokens
    rep.pairs += tokens * (2 * done + tokens)
    if settings.window > 0:
        rep.window_pairs += window_pairs(tokens, done, settings.window)
    rep.chunks += 1
    prefix.fill(state, settings, r, number)
    if settings.loras:
        adapters.compute(state, rep, r, seat.request, tokens)
    if settings.fails:
        outages.note_chunk(state, rep, number, tokens)


@spliced
def _plan_chunked(state: State, settings: Record, rep: Record, r: Int) -> Flag:
    """vLLM and Sarathi. At most one prompt is unfinished, and it was admitted last."""
    phase = (
        rep.step & (settings.block_size - 1)
        if settings.shift >= 0
        else (rep.step % settings.block_size)
    )
    partial = 0
    more = 0
    if rep.prefills > 0:
        seat = state.seat[state.prefilling[r, 0]]
        partial = max(0, min(settings.budget - rep.batch, seat.target - seat.computed))
        if settings.scheduler != SARATHI:
            more = max(0, blocks_for(settings, seat.computed + partial) - seat.blocks)
    preempted = state.phases[r, phase] + more > rep.free
    if preempted and settings.by_priority:
        partial, more = priority.make_room(state, settings, rep, r, phase)
    else:
        taken = 0
        while state.phases[r, phase] - taken + more > rep.free:
            # Those before the last have taken what there was when it gives back what it has.
            count = min(state.phases[r, phase] - taken, rep.free)
            prefix.take(state, settings, rep, r, count, rep.now)
            taken += count
            preempt(state, settings, rep, r, rep.order_tail, 0)
            more = 0
            partial = 0
        prefix.take(state, settings, rep, r, state.phases[r, phase] - taken, rep.now)
    left = settings.budget - rep.batch
    if partial > 0:
        number = state.prefilling[r, 0]
        prefix.grow(state, settings, rep, r, number, state.seat[number].blocks + more)
        _compute(state, settings, rep, r, number, partial)
        left -= partial
    if preempted:
        return True
    while left > 0:
        number = _admit(state, settings, rep, r, FOREVER)
        if number < 0:
            break
        seat = state.seat[number]
        if seat.remote:
            fetching.join(state, settings, rep, r, number)
            left -= 1
            continue
        tokens = min(seat.target - seat.computed, left)
        upto = seat.target if settings.scheduler == SARATHI else seat.computed + tokens
        prefix.grow(state, settings, rep, r, number, max(seat.blocks, blocks_for(settings, upto)))
        _compute(state, settings, rep, r, number, tokens)
        left -= tokens
        state.prefilling[r, rep.prefills] = number
        rep.prefills += 1
    if rep.aside >= 0:
        adapters.put_back(state, settings, rep)
    return False


@inlined
def _admit(state: State, settings: Record, rep: Record, r: Int, most: Int) -> Int:
    """Let the next request run, as `Queues.admit` of the reference; -1 where nobody may."""
    while True:
        if rep.ready_head >= 0:
            seat = state.seat[rep.ready_head]
            if seat.target - seat.computed > most:
                return np.int64(-1)
            return loading.join(state, settings, rep)
        if rep.queue_head < 0 or rep.seats + rep.loading >= settings.max_seqs:
            return np.int64(-1)
        if settings.loras:
            adapters.skip(state, settings, rep, r)
            if rep.queue_head < 0:
                return np.int64(-1)
        head = rep.queue_head
        known = state.input_tokens[head] + state.generated[head]
        hits, idle = prefix.find(state, settings, r, head, known)
        blocks = _room_for(state, settings, head, known)
        remote = fetching.is_remote(state, settings, head)
        tokens = 1 if remote else known - hits * settings.block_size
        if blocks - hits + idle > rep.free or tokens > most:
            return np.int64(-1)
        if remote:
            fetching.begin(state, settings, rep, r, hits, blocks)
        elif not loading.begin(state, settings, rep, r, known, hits, blocks):
            return np.int64(take_seat(state, settings, rep, r))


@inlined
def _room_for(state: State, settings: Record, request: Int, known: Int) -> Int:
    """Blocks that must be free for a request: for what is known of it, or for its whole life."""
    if settings.grows:
        return blocks_for(settings, known)
    stored = state.input_tokens[request] + state.output_tokens[request] - 1
    return blocks_for(settings, stored)


@outlined
def _admit_whole(state: State, settings: Record, rep: Record, r: Int, most: Int) -> Int:
    """Let the next request run with KV for its whole sequence; -1 where nobody may."""
    number = _admit(state, settings, rep, r, most)
    if number >= 0 and state.seat[number].remote:
        fetching.join(state, settings, rep, r, number)
    elif number >= 0:
        seat = state.seat[number]
        blocks = _room_for(state, settings, seat.request, seat.target)
        prefix.grow(state, settings, rep, r, number, blocks)
        state.prefilling[r, rep.prefills] = number
        rep.prefills += 1
    return number


@outlined
def _plan_orca(state: State, settings: Record, rep: Record, r: Int) -> None:
    left = settings.budget - rep.batch
    most = FOREVER  # the first prompt may be as long as it likes
    while True:
        number = _admit_whole(state, settings, rep, r, most)
        if number < 0:
            break
        seat = state.seat[number]
        tokens = np.int64(1)
        if not seat.remote:
            tokens = np.int64(seat.target - seat.computed)
            _compute(state, settings, rep, r, number, tokens)
        left -= tokens
        most = left


@outlined
def _plan_static(state: State, settings: Record, rep: Record, r: Int) -> None:
    if rep.seats > 0:
        return
    while True:
        number = _admit_whole(state, settings, rep, r, FOREVER)
        if number < 0:
            break
        seat = state.seat[number]
        if not seat.remote:
            _compute(state, settings, rep, r, number, seat.target - seat.computed)


@outlined
def _plan_slots(state: State, settings: Record, rep: Record, r: Int) -> None:
    while True:
        number = _admit_whole(state, settings, rep, r, FOREVER)
        if number < 0:
            break
        if state.seat[number].remote:
            continue
        at = rep.prefills - 1  # keep prompts in the order of their slots
        while at > 0 and state.prefilling[r, at - 1] > number:
            state.prefilling[r, at] = state.prefilling[r, at - 1]
            at -= 1
        state.prefilling[r, at] = number
    left = settings.budget - rep.batch
    for index in range(rep.prefills):
        number = state.prefilling[r, index]
        seat = state.seat[number]
        tokens = min(seat.target - seat.computed, left)
        if tokens > 0:
            _compute(state, settings, rep, r, number, tokens)
            left -= tokens
