"""Many uneventful iterations at once.

While the same sequences decode and nobody can be admitted, each iteration is longer than
the one before by a constant. So the time after k of them is a polynomial in k with whole
coefficients, equal to the sum of the k durations to the last digit.
"""

import numpy as np

from servetwin.sim.kernel import attention, ring
from servetwin.sim.kernel.blocks import growth, phase_of, steps_that_fit
from servetwin.sim.kernel.compile import inlined, outlined, spliced
from servetwin.sim.kernel.cost import duration, without_prompts
from servetwin.sim.kernel.gaps import bin_of, count_series
from servetwin.sim.kernel.prefix import take
from servetwin.sim.kernel.stages import pass_through
from servetwin.sim.kernel.state import (
    CLOCK_END,
    FOREVER,
    ORCA,
    SLOTS,
    STATIC,
    Flag,
    Int,
    Record,
    State,
)

__all__ = [
    "boundaries_by",
    "boundary",
    "catch_up",
    "contexts_read",
    "land",
    "outlasts_clock",
    "shorten",
    "start",
]


@inlined
def boundary(rep: Record, count: Int) -> Int:
    """Time of the `count`-th boundary after the plan's; `count` may be 0."""
    if count <= 0:
        return rep.now
    further = count - 1
    return rep.now + rep.first + further * rep.second + rep.growth * (further * (further - 1) // 2)


@inlined
def outlasts_clock(rep: Record) -> Flag:
    """Whether the jump ends after the clock does; in floats, which do not wrap around."""
    further = np.float64(rep.jump - 1)
    end = np.float64(rep.now) + rep.first + further * rep.second
    return end + rep.growth * (further * (further - 1.0) / 2.0) > np.float64(CLOCK_END)


@spliced
def start(state: State, settings: Record, rep: Record, r: Int, preempted: Flag) -> None:
    """Price the plan, and see how many further plans are sure to be like it."""
    rep.cost = duration(state, settings, rep)
    rep.priced = 0
    rep.waited = 0
    if rep.prefill_tokens > 0:
        rep.priced = max(0, rep.cost - without_prompts(state, settings, rep))
    if settings.stages > 0 and rep.cost > 0:
        rep.cost = pass_through(state, settings, rep, r)
    batch = rep.batch
    rep.growth = 0
    rep.jump = 1
    rep.open = 0
    rep.idle = 0
    rep.first = rep.staged_cost if settings.lag else rep.cost
    if settings.stages > 0:
        rep.idle = rep.cost == 0 and not preempted
    elif rep.prefill_tokens == 0 and batch > 0 and rep.prefills == 0 and not preempted:
        rep.growth = settings.decode_ctx * batch
        steps = ring.plans_until_next(state, settings, r, rep.step)
        if settings.window > 0:
            room = settings.window * batch - rep.contexts
            if room >= 0:
                # Contexts are still shorter than the window: they cost more with each token.
                rep.growth += settings.decode_window_ctx * batch
                steps = min(steps, room // batch + 1)
        if settings.tabled:
            steps = min(steps, _within_segment(state, settings, rep))
        if rep.leaving_count > 0 and (rep.queue_head >= 0 or settings.caching):
            # Somebody may take a seat that becomes free. With prefix caching, how many blocks
            # become free shows only when they do, since requests share them.
            steps = np.int64(1)
        if settings.grows and steps > 1:
            free = rep.free + rep.leaving_blocks
            phases = state.phases[r]
            steps = 1 + steps_that_fit(settings, phases, batch, rep.step + 1, steps - 1, free)
        rep.jump = steps
        overtaken = settings.by_priority or settings.loras
        rep.open = (rep.queue_head < 0 or overtaken) and _admits(settings, rep)
    elif rep.first == 0 and rep.cost == 0 and not preempted:
        rep.idle = 1  # nobody waits, except for blocks that others load
    rep.second = rep.cost if settings.lag else rep.cost + rep.growth


@inlined
def _within_segment(state: State, settings: Record, rep: Record) -> Int:
    """Grow by what tabled attention adds; return for how many plans it adds that."""
    tables, kind, batch = state.attention, settings.kind, rep.batch
    j = attention.segment(tables, kind, batch, rep.contexts)
    rep.growth += tables.slope[kind, batch, j] * batch
    if j + 1 == tables.sizes[kind, attention.CONTEXTS]:
        return FOREVER
    room = tables.contexts[kind, j + 1] * batch - rep.contexts
    return np.int64((room + batch - 1) // batch)


@inlined
def _admits(settings: Record, rep: Record) -> Flag:
    """Whether a request that arrives in mid-jump could be admitted before its end."""
    if settings.scheduler == STATIC:
        return False
    vacant = rep.seats + rep.loading - rep.leaving_count < settings.max_seqs
    if settings.scheduler == ORCA or settings.scheduler == SLOTS:
        return vacant
    return vacant and rep.batch < settings.budget


@inlined
def boundaries_by(rep: Record, time: Int, most: Int) -> Int:
    """The most boundaries, up to `most`, that lie at or before `time`."""
    if most <= 0 or time < rep.now + rep.first:
        return np.int64(0)
    gap = np.float64(time - rep.now - rep.first)
    half = 0.5 * rep.growth
    slope = rep.second - half
    if rep.growth > 0:
        guess = (np.sqrt(slope * slope + 4.0 * half * gap) - slope) / (2.0 * half)
    elif rep.second > 0:
        guess = gap / rep.second
    else:
        guess = np.float64(most)
    count = min(np.int64(min(guess, 4e18)) + 1, most)
    while count < most and boundary(rep, count + 1) <= time:
        count += 1
    while boundary(rep, count) > time:
        count -= 1
    return count


@inlined
def shorten(rep: Record, time: Int) -> Flag:
    """End the jump at the first boundary at or after `time`; return whether that changed it."""
    before = boundaries_by(rep, time - 1, rep.jump - 1)
    jump = max(before + 1, np.int64(1))
    if jump >= rep.jump:
        return False
    rep.jump = jump
    return True


@inlined
def catch_up(state: State, settings: Record, rep: Record, r: Int, time: Int) -> None:
    """Take the blocks of those plans of the jump that were made before `time`."""
    if settings.grows and rep.jump > 1:
        _take_growth(state, settings, rep, r, boundaries_by(rep, time - 1, rep.jump - 1))


@inlined
def _take_growth(state: State, settings: Record, rep: Record, r: Int, plans: Int) -> None:
    """Take the blocks of the jump's first `plans` further plans that are not taken yet."""
    if settings.tiers:
        _take_in_turn(state, settings, rep, r, plans)
        return
    blocks = growth(settings, state.phases[r], rep.batch, rep.step + 1, plans)
    take(state, settings, rep, r, blocks - rep.ahead, rep.now)
    rep.ahead = blocks


@outlined
def _take_in_turn(state: State, settings: Record, rep: Record, r: Int, plans: Int) -> None:
    """The same where it matters when each plan was made: what it evicts is written back then."""
    for plan in range(rep.caught + 1, plans + 1):
        blocks = state.phases[r, phase_of(settings, rep.step + plan)]
        if blocks > 0:
            take(state, settings, rep, r, blocks, boundary(rep, plan))
            rep.ahead += blocks
    rep.caught = plans


@spliced
def land(state: State, settings: Record, rep: Record, r: Int, now: Int) -> None:
    """Bring the replica to `now`, the end of its jump: the next plan is `step`."""
    steps = rep.jump
    _count_work(settings, rep, steps)
    if settings.gaps and rep.live > 0:
        if steps == 1 or rep.growth == 0:
            state.gaps[bin_of(rep.cost)] += (rep.live - rep.redoing) * steps
        else:
            _count_gaps(state, rep, steps)
    if steps > 1:
        if settings.grows:
            _take_growth(state, settings, rep, r, steps - 1)
            rep.ahead = 0
            rep.caught = 0
            used = settings.capacity - rep.free - rep.leaving_blocks
            if used > rep.peak:
                rep.peak = used
        rep.contexts += rep.batch * (steps - 1)
    if rep.cost > 0:
        rep.iterations += steps
    rep.contexts += rep.batch
    rep.step += steps
    rep.now = now


@inlined
def _count_work(settings: Record, rep: Record, steps: Int) -> None:
    """Add up the iterations that end within or with the jump."""
    if settings.lag == 0:
        rep.done_prefill += rep.prefill_tokens
        rep.done_priced += rep.priced
        if settings.stages > 0:
            rep.done_waited += rep.waited
        rep.done_decode += rep.live * steps
        rep.done_iterations += steps * (rep.cost > 0)
        rep.done_context += contexts_read(rep, steps)
        return
    rep.done_prefill += rep.staged_prefill
    rep.done_priced += rep.staged_priced
    rep.staged_priced = rep.priced
    rep.done_decode += rep.staged_decode + rep.live * (steps - 1)
    rep.done_iterations += (rep.staged_cost > 0) + steps - 1
    rep.done_context += rep.staged_context + contexts_read(rep, steps - 1)
    rep.staged_cost = rep.cost + rep.growth * (steps - 1)
    rep.staged_prefill = rep.prefill_tokens
    rep.staged_decode = rep.live
    rep.staged_context = rep.contexts + rep.batch * (steps - 1)


@inlined
def contexts_read(rep: Record, plans: Int) -> Int:
    """KV tokens that the decodes of the jump's first plans read."""
    return plans * rep.contexts + rep.batch * (plans * (plans - 1) // 2)


@outlined
def _count_gaps(state: State, rep: Record, steps: Int) -> None:
    count_series(state.gaps, rep.cost, rep.growth, steps, rep.live)
