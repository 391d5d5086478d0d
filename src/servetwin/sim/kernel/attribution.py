"""Where the time of a request goes: `reference/attribution.py`, in flat arrays.

A replica adds up the prefill time, the prefill tokens and, where there are such, the waits for
stages and the outages of the iterations that have ended. A seat marks where these stood when its
request began its prompt, and at the token after it.
"""

from servetwin.sim.kernel.compile import inlined
from servetwin.sim.kernel.outages import mark_outage, outage_since_mark
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
    mark_outage(state, settings, seat.request)


@inlined
def resume(state: State, settings: Record, rep: Record, seat: Record, token: Int) -> None:
    """The prompt is computed, and at `token` follows the first token behind it."""
    request = seat.request
    priced = rep.done_priced + settings.lag * rep.staged_priced
    waited = wait_since_mark(state, settings, rep, request)
    outage = outage_since_mark(state, settings, request)
    if seat.generated == 0:
        tokens = rep.done_prefill + settings.lag * rep.staged_prefill - seat.mark_prefill
        time = priced - seat.mark_priced
        own = seat.target - seat.mark_done
        # time * own could pass 64 bits
        own_time = (time // tokens) * own + (time % tokens) * own // tokens
        state.prefill_time[request] = token - seat.mark - (time - own_time) - waited - outage
        if settings.stages > 0:
            state.stages.prefill_wait[request] = waited
        before = seat.mark - state.first_scheduled[request]
        if settings.fails and state.outages.retries[request] > 0:
            outage += before
        else:
            state.preempted_time[request] = before
        if settings.fails:
            state.outages.prefill_outage[request] = outage
    elif settings.fails and state.outages.had[request] >= seat.generated:
        begun = state.finish[request]
        if settings.fetches and state.bridge.handover[request] > 0:
            begun = max(begun, state.first_token[request] + state.bridge.handover[request])
        state.outages.decode_outage[request] += token - begun
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
    """Decoding, waiting for stages, and outages took so long since the mark."""
    waited = wait_since_mark(state, settings, rep, seat.request)
    outage = outage_since_mark(state, settings, seat.request)
    state.decode_time[seat.request] += time - waited - outage
    if settings.fails:
        state.outages.decode_outage[seat.request] += outage
    if settings.stages > 0:
        state.stages.decode_wait[seat.request] += waited
