"""What the next iteration computes: the six schedulers of `reference/schedulers.py`.

Decoding sequences are served as a whole, since they always come first and always fit the
budget; so a plan loops only over prompts.
"""

from servetwin.sim.kernel import prefix
from servetwin.sim.kernel.blocks import blocks_for
from servetwin.sim.kernel.compile import inlined, outlined
from servetwin.sim.kernel.cost import window_pairs
from servetwin.sim.kernel.seats import preempt_last, take_seat
from servetwin.sim.kernel.state import ORCA, SARATHI, SLOTS, STATIC, Flag, Int, Record, State
from servetwin.units import NOT_YET

__all__ = ["make_plan"]


@inlined
def make_plan(state: State, settings: Record, rep: Record, r: Int) -> Flag:
    """Fill the replica's plan; return whether it had to preempt."""
    rep.prefill_tokens = 0
    rep.pairs = 0
    rep.window_pairs = 0
    rep.chunks = 0
    rep.samples = 0
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


@inlined
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
            more = blocks_for(settings, seat.computed + partial) - seat.blocks
    preempted = False
    taken = 0
    while state.phases[r, phase] - taken + more > rep.free:
        # Those before the last have taken what there was when it gives back what it has.
        count = min(state.phases[r, phase] - taken, rep.free)
        prefix.take(state, settings, rep, r, count)
        taken += count
        preempt_last(state, settings, rep, r)
        preempted = True
        more = 0
        partial = 0
    prefix.take(state, settings, rep, r, state.phases[r, phase] - taken)
    left = settings.budget - rep.batch
    if partial > 0:
        number = state.prefilling[r, 0]
        prefix.grow(state, settings, rep, r, number, state.seat[number].blocks + more)
        _compute(state, settings, rep, r, number, partial)
        left -= partial
    if preempted:
        return True
    while rep.queue_head >= 0 and left > 0 and rep.seats < settings.max_seqs:
        head = rep.queue_head
        known = state.input_tokens[head] + state.generated[head]
        hits, idle = prefix.find(state, settings, r, head, known)
        if blocks_for(settings, known) - hits + idle > rep.free:
            break
        number = take_seat(state, settings, rep, r)
        done = state.seat[number].computed
        tokens = min(known - done, left)
        upto = known if settings.scheduler == SARATHI else done + tokens
        prefix.grow(state, settings, rep, r, number, blocks_for(settings, upto))
        _compute(state, settings, rep, r, number, tokens)
        left -= tokens
        state.prefilling[r, rep.prefills] = number
        rep.prefills += 1
    return False


@inlined
def _whole_sequence(state: State, settings: Record, request: Int) -> Int:
    """Blocks that a request will hold when it ends."""
    stored = state.input_tokens[request] + state.output_tokens[request] - 1
    return blocks_for(settings, stored)


@inlined
def _admit_whole(state: State, settings: Record, rep: Record, r: Int, blocks: Int) -> Int:
    """Seat the head of the queue with KV for its whole sequence."""
    number = take_seat(state, settings, rep, r)
    prefix.grow(state, settings, rep, r, number, blocks)
    state.prefilling[r, rep.prefills] = number
    rep.prefills += 1
    return number


@outlined
def _plan_orca(state: State, settings: Record, rep: Record, r: Int) -> None:
    left = settings.budget - rep.batch
    while rep.queue_head >= 0 and rep.seats < settings.max_seqs:
        known = state.input_tokens[rep.queue_head]
        hits, idle = prefix.find(state, settings, r, rep.queue_head, known)
        tokens = known - hits * settings.block_size
        blocks = _whole_sequence(state, settings, rep.queue_head)
        if blocks - hits + idle > rep.free or (rep.prefills > 0 and tokens > left):
            break
        number = _admit_whole(state, settings, rep, r, blocks)
        _compute(state, settings, rep, r, number, tokens)
        left -= tokens


@outlined
def _plan_static(state: State, settings: Record, rep: Record, r: Int) -> None:
    if rep.seats > 0:
        return
    while rep.queue_head >= 0 and rep.seats < settings.max_seqs:
        head = rep.queue_head
        hits, idle = prefix.find(state, settings, r, head, state.input_tokens[head])
        blocks = _whole_sequence(state, settings, head)
        if blocks - hits + idle > rep.free:
            break
        number = _admit_whole(state, settings, rep, r, blocks)
        seat = state.seat[number]
        _compute(state, settings, rep, r, number, seat.target - seat.computed)


@outlined
def _plan_slots(state: State, settings: Record, rep: Record, r: Int) -> None:
    while rep.queue_head >= 0 and rep.seats < settings.max_seqs:
        blocks = _whole_sequence(state, settings, rep.queue_head)
        number = _admit_whole(state, settings, rep, r, blocks)
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
