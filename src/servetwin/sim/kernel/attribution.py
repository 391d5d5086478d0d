"""Where the time of a request goes: `reference/attribution.py`, in flat arrays.

A replica adds up the prefill time, the prefill tokens and, with stages, the waits of the
iterations that have ended. A seat marks where these stood when its request began its prompt, and
at the token after it.
"""

from servetwin.sim.kernel.compile import inlined
from servetwin.sim.kernel.stages import mark_wait, wait_since_mark
from servetwin.sim.kernel.state import Int, Record, State

__all__ = ["begin_prompt", "pause", "resume", "spend"]


@inlined
def begin_prompt(state: State, settings: Record, rep: Record, seat: Record) -> None:
    """The plan made now holds the first chunk since the seat was taken."""
    seat.mark = rep.now
    seat.mark_done = seat.computed
    seat.mark_priced = rep.done_priced
    seat.mark_prefill = rep.done_prefill
    mark_wait(state, settings, rep, seat.request)


@inlined
def resume(state: State, settings: Record, rep: Record, seat: Record, token: Int) -> None:
    """The prompt is computed, and at `token` follows the first token behind it."""
    request = seat.request
    priced = rep.done_priced + settings.lag * rep.staged_priced
    waited = wait_since_mark(state, settings, rep, request)
    if seat.generated == 0:
        tokens = rep.done_prefill + settings.lag * rep.staged_prefill - seat.mark_prefill
        time = priced - seat.mark_priced
        own = seat.target - seat.mark_done
        # time * own could pass 64 bits
        own_time = (time // tokens) * own + (time % tokens) * own // tokens
        state.prefill_time[request] = token - seat.mark - (time - own_time) - waited
        if settings.stages > 0:
            state.stages.prefill_wait[request] = waited
        state.preempted_time[request] = seat.mark - state.first_scheduled[request]
    else:
        state.preempted_time[request] += token - state.finish[request]
    seat.mark = token
    seat.mark_priced = priced


@inlined
def pause(state: State, settings: Record, rep: Record, seat: Record, token: Int) -> None:
    """At `token` comes the last token, or the last before the request is preempted."""
    priced = rep.done_priced + settings.lag * rep.staged_priced
    spend(state, settings, rep, seat, token - seat.mark - (priced - seat.mark_priced))


@inlined
def spend(state: State, settings: Record, rep: Record, seat: Record, time: Int) -> None:
    """Decoding, and waiting for stages, took so long since the mark."""
    waited = wait_since_mark(state, settings, rep, seat.request)
    state.decode_time[seat.request] += time - waited
    if settings.stages > 0:
        state.stages.decode_wait[seat.request] += waited
