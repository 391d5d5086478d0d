"""Iterations of several microbatches in the stages of one engine (`reference/ring.py`)."""

import numpy as np

from servetwin.sim.inputs import SimInputs
from servetwin.sim.kernel.compile import inlined, outlined
from servetwin.sim.kernel.state import Int, Record, Stages, State
from servetwin.sim.stages import SHARE_BITS

__all__ = ["make_stages", "pass_again", "pass_through", "take_back"]

REST = (1 << SHARE_BITS) - 1


def make_stages(inputs: SimInputs) -> Stages:
    """Idle stages; none where each replica has devices of its own."""
    stages = inputs.stages
    edges = stages.edges if stages else ()
    shape = (stages.engines, stages.count) if stages else (0, 0)
    return Stages(np.array(edges, np.int64), np.zeros(shape, np.int64), np.zeros(shape, np.int64))


@inlined
def _up_to(duration: Int, edge: Int) -> Int:
    return (duration >> SHARE_BITS) * edge + ((duration & REST) * edge >> SHARE_BITS)


@outlined
def pass_through(state: State, settings: Record, rep: Record, r: Int) -> Int:
    """Send the plan through all stages; return how long after `rep.now` it leaves the last."""
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
        own = _share(state, settings, rep, duration, stage)
        state.stages.busy[r % settings.engines, stage] -= own


@inlined
def _share(state: State, settings: Record, rep: Record, duration: Int, stage: Int) -> Int:
    """Picoseconds of the plan in a stage."""
    edges = state.stages.edges
    copies = settings.swap * (rep.contexts + rep.batch + rep.prefill_tokens)
    return max(copies, _up_to(duration, edges[stage + 1]) - _up_to(duration, edges[stage]))


@inlined
def _pass(state: State, settings: Record, rep: Record, r: Int, duration: Int, begin: Int) -> Int:
    free, busy = state.stages.free, state.stages.busy
    engine = r % settings.engines
    ready = begin
    for stage in range(settings.stages):
        own = _share(state, settings, rep, duration, stage)
        ready = max(ready, free[engine, stage]) + own
        free[engine, stage] = ready
        busy[engine, stage] += own
    return max(ready, begin + 1)
