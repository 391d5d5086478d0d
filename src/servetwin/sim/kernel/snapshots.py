"""The state of a replica at regular times, worked out when it next changes."""

from servetwin.sim.kernel.blocks import growth
from servetwin.sim.kernel.compile import outlined
from servetwin.sim.kernel.jump import boundaries_by, contexts_read
from servetwin.sim.kernel.kinds import settings_of
from servetwin.sim.kernel.state import Int, Record, State

__all__ = ["take_before"]


@outlined
def take_before(state: State, settings: Record, rep: Record, r: Int, time: Int) -> None:
    """Fill in the snapshots of the replica that are due before `time`."""
    capacity = settings_of(state, settings, r).capacity
    due = (rep.snapshot + 1) * settings.interval
    while due < time:
        passed = 0
        if rep.idle == 0:
            passed = boundaries_by(rep, due, rep.jump - 1)
        row = state.snapshots[rep.snapshot, r]
        blocks = capacity - rep.free - rep.ahead
        row.running = rep.seats
        prefill = rep.done_prefill
        decode = rep.done_decode
        iterations = rep.done_iterations
        context = rep.done_context
        if passed > 0:
            row.running = rep.seats - rep.leaving_count
            blocks -= rep.leaving_blocks
            if settings.grows:
                blocks += growth(settings, state.phases[r], rep.batch, rep.step + 1, passed)
            if settings.lag:
                prefill += rep.staged_prefill
                decode += rep.staged_decode + rep.live * (passed - 1)
                iterations += (rep.staged_cost > 0) + passed - 1
                context += rep.staged_context + contexts_read(rep, passed - 1)
            else:
                decode += rep.live * passed
                iterations += passed
                context += contexts_read(rep, passed)
        row.waiting = rep.queue_length + rep.loading
        row.kv_blocks = blocks
        row.prefill_tokens = prefill - rep.seen_prefill
        row.decode_tokens = decode - rep.seen_decode
        row.iterations = iterations - rep.seen_iterations
        row.context_tokens = context - rep.seen_context
        rep.seen_prefill = prefill
        rep.seen_decode = decode
        rep.seen_iterations = iterations
        rep.seen_context = context
        rep.snapshot += 1
        due += settings.interval
