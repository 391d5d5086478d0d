"""LoRA adapters in a batch: how many, for how many tokens, and who waits for a place among them."""

import numpy as np

from servetwin.sim.inputs import SimInputs
from servetwin.sim.kernel import waiting
from servetwin.sim.kernel.compile import inlined, outlined
from servetwin.sim.kernel.state import Adapters, Flag, Int, Record, State

__all__ = ["compute", "count", "make_adapters", "price", "put_back", "skip"]


def make_adapters(inputs: SimInputs) -> Adapters:
    """Adapters numbered from 0, of which no batch has any; empty arrays without them."""
    column = inputs.workload.adapter
    if column is None or inputs.settings.max_loras == 0:
        none = np.zeros((0, 0), np.int32)
        return Adapters(none[0:0].ravel(), none, none.astype(np.int64))
    names, numbers = np.unique(np.maximum(column, -1), return_inverse=True)
    shape = (inputs.replicas, names.size)
    of_request = (numbers - (names[0] == -1)).astype(np.int32)
    return Adapters(of_request, np.zeros(shape, np.int32), np.zeros(shape, np.int64))


@outlined
def count(state: State, rep: Record, r: Int, request: Int, change: Int) -> None:
    """A request begins (1) or ceases (-1) to decode."""
    adapter = state.adapters.of_request[request]
    if adapter < 0:
        return
    decodes = state.adapters.decodes
    before = decodes[r, adapter]
    decodes[r, adapter] = before + change
    rep.adapted += change
    if before == 0:
        rep.adapters += 1
    elif before + change == 0:
        rep.adapters -= 1


@outlined
def compute(state: State, rep: Record, r: Int, request: Int, tokens: Int) -> None:
    """The plan at work computes so many prompt tokens of a request."""
    adapters, adapter = state.adapters, state.adapters.of_request[request]
    if adapter < 0:
        return
    rep.prompt_adapted += tokens
    if adapters.decodes[r, adapter] == 0 and adapters.plan[r, adapter] != rep.step + 1:
        adapters.plan[r, adapter] = rep.step + 1
        rep.prompt_adapters += 1


@inlined
def _has_place(state: State, settings: Record, rep: Record, r: Int, request: Int) -> Flag:
    adapters, adapter = state.adapters, state.adapters.of_request[request]
    if adapter < 0 or rep.adapters + rep.prompt_adapters < settings.loras:
        return True
    return adapters.decodes[r, adapter] > 0 or adapters.plan[r, adapter] == rep.step + 1


@outlined
def skip(state: State, settings: Record, rep: Record, r: Int) -> None:
    """Set those at the head of the queue aside whose adapters have no place in the plan."""
    following = state.next_waiting
    while rep.queue_head >= 0 and not _has_place(state, settings, rep, r, rep.queue_head):
        request = np.int64(rep.queue_head)
        if settings.by_priority:
            waiting.pop(state, rep)
        else:
            rep.queue_head = following[request]
        following[request] = -1
        if rep.aside < 0:
            rep.aside = request
        else:
            following[rep.aside_tail] = request
        rep.aside_tail = request


@outlined
def put_back(state: State, settings: Record, rep: Record) -> None:
    """Let those who were set aside wait where they did before."""
    following = state.next_waiting
    if settings.by_priority:
        request = np.int64(rep.aside)
        while request >= 0:
            rest = np.int64(following[request])
            following[request] = -1
            rep.queue_head = waiting.meld(state, rep.queue_head, request)
            request = rest
    else:
        following[rep.aside_tail] = rep.queue_head
        if rep.queue_head < 0:
            rep.queue_tail = rep.aside_tail
        rep.queue_head = rep.aside
    rep.aside = -1


@inlined
def price(settings: Record, adapters: Int, tokens: Int) -> Int:
    """Picoseconds that adapters take for the `tokens` of an iteration that need one."""
    if tokens == 0:
        return np.int64(0)
    return settings.lora_base + adapters * settings.lora_adapter + tokens * settings.lora_token
