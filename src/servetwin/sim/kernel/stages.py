"""Iterations of several microbatches in the stages of one engine (`reference/ring.py`)."""

import numpy as np

from servetwin.sim.inputs import SimInputs
from servetwin.sim.kernel.compile import inlined, outlined
from servetwin.sim.kernel.cost import without_prompts
from servetwin.sim.kernel.state import Int, Record, Stages, State
from servetwin.sim.stages import SHARE_BITS

__all__ = ["make_stages", "mark_wait", "pass_again", "pass_through", "take_back", "wait_since_mark"]

REST = (1 << SHARE_BITS) - 1


def make_stages(inputs: SimInputs) -> Stages:
    """Idle stages; none where each replica has devices of its own."""
    stages = inputs.stages
    edges = stages.edges if stages else ()
    shape = (stages.engines, stages.count) if stages else (0, 0)
    n = len(inputs.workload) if inputs.staged else 0
    return Stages(
        edges=np.array(edges, np.int64),
        free=np.zeros(shape, np.int64),
        busy=np.zeros(shape, np.int64),
        mark=np.zeros(n, np.int64),
        prefill_wait=np.zeros(n, np.int64),
        decode_wait=np.zeros(n, np.int64),
    )


@inlined
def _up_to(duration: Int, edge: Int) -> Int:
    return (duration >> SHARE_BITS) * edge + ((duration & REST) * edge >> SHARE_BITS)


@outlined
def pass_through(state: State, settings: Record, rep: Record, r: Int) -> Int:
    """Send the plan through all stages; return how long after `rep.now` it leaves the last.

    What its prompts add is that in stages which are free.
    """
    if rep.prefill_tokens > 0:
        whole = _alone(state, settings, rep, rep.cost, rep.prefill_tokens)
        decodes = without_prompts(state, settings, rep)
        rep.priced = max(0, whole - _alone(state, settings, rep, decodes, 0))
    return _pass(state, settings, rep, r, rep.cost, rep.now) - rep.now


@outlined
def pass_again(
    state: State, settings: Record, rep: Record, r: Int, duration: Int, begin: Int
) -> Int:
    """Send the plan through all stages once more; return when it leaves the last."""
    return _pass(state, settings, rep, r, duration, begin)


@outlined
def take_back(state: State, settings: Record, rep: Record, r: Int, duration: Int) -> None:
    """The plan was interrupted, and does not count as work of the stages."""
    for stage in range(settings.stages):
        own = _share(state, settings, rep, duration, rep.prefill_tokens, stage)
        state.stages.busy[r % settings.engines, stage] -= own


@inlined
def _share(
    state: State, settings: Record, rep: Record, duration: Int, prompts: Int, stage: Int
) -> Int:
    """Picoseconds of the plan in a stage, if it has so many prompt tokens."""
    edges = state.stages.edges
    copies = settings.swap * (rep.contexts + rep.batch + prompts)
    return max(copies, _up_to(duration, edges[stage + 1]) - _up_to(duration, edges[stage]))


@inlined
def _alone(state: State, settings: Record, rep: Record, duration: Int, prompts: Int) -> Int:
    """How long the plan takes through stages that are free."""
    time = np.int64(0)
    for stage in range(settings.stages):
        time += _share(state, settings, rep, duration, prompts, stage)
    return time


@inlined
def mark_wait(state: State, settings: Record, rep: Record, request: Int) -> None:
    """What iterations waited until now is no part of the time that begins for a request."""
    if settings.stages > 0:
        state.stages.mark[request] = rep.done_waited


@inlined
def wait_since_mark(state: State, settings: Record, rep: Record, request: Int) -> Int:
    """Picoseconds that iterations waited for stages since the last mark, which is moved here."""
    if settings.stages == 0:
        return np.int64(0)
    time = rep.done_waited - state.stages.mark[request]
    state.stages.mark[request] = rep.done_waited
    return time


@inlined
def _pass(state: State, settings: Record, rep: Record, r: Int, duration: Int, begin: Int) -> Int:
    free, busy = state.stages.free, state.stages.busy
    engine = r % settings.engines
    ready, alone = begin, np.int64(0)
    for stage in range(settings.stages):
        own = _share(state, settings, rep, duration, rep.prefill_tokens, stage)
        alone += own
        ready = max(ready, free[engine, stage]) + own
        free[engine, stage] = ready
        busy[engine, stage] += own
    end = max(ready, begin + 1)
    rep.waited = end - (begin + max(1, alone))
    return end
