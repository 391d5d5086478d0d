"""Iterations of several microbatches in the stages of one engine (`reference/ring.py`)."""

import numpy as np

from servetwin.sim.inputs import SimInputs
from servetwin.sim.kernel.compile import inlined, outlined
from servetwin.sim.kernel.state import Int, Record, Stages, State
from servetwin.sim.stages import SHARE_BITS

__all__ = ["make_stages", "pass_through"]

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
    edges, duration = state.stages.edges, rep.cost
    free, busy = state.stages.free, state.stages.busy
    engine = r % settings.engines
    copies = settings.swap * (rep.contexts + rep.batch + rep.prefill_tokens)
    ready = rep.now
    for stage in range(settings.stages):
        own = max(copies, _up_to(duration, edges[stage + 1]) - _up_to(duration, edges[stage]))
        ready = max(ready, free[engine, stage]) + own
        free[engine, stage] = ready
        busy[engine, stage] += own
    return max(ready - rep.now, np.int64(1))
