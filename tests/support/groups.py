"""Random runs on replicas of several kinds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from servetwin.sim.groups import EngineGroup
from servetwin.sim.inputs import SimInputs
from support.cases import Shape, iteration_costs, sim_inputs

__all__ = ["grouped", "grouped_inputs", "split"]


@st.composite
def grouped(draw: st.DrawFn, inputs: SimInputs) -> SimInputs:
    """The same run with one or two further kinds, some of which hold only short requests."""
    total = inputs.workload.input_tokens.astype(np.int64) + inputs.workload.output_tokens
    needs = -(-(total - 1) // inputs.settings.block_size)
    also = []
    for _ in range(draw(st.integers(1, 2))):
        share = draw(st.sampled_from([0.3, 0.7, 1.0, 1.5]))
        limit = draw(st.sampled_from([inputs.max_total_tokens, int(np.median(total)) + 1]))
        # The least of them all must fit: what nobody can hold is drawn elsewhere.
        capacity = max(1, int(share * inputs.capacity_blocks), int(needs.min()))
        cost = draw(iteration_costs())
        if draw(st.integers(0, 2)) == 0:
            cost = inputs.cost  # the same machine, less memory
        also.append(EngineGroup(cost, capacity, limit, draw(st.integers(1, 2))))
    if draw(st.booleans()):  # the first kind may be the smaller one, too
        other = also[0]
        also[0] = EngineGroup(
            inputs.cost, inputs.capacity_blocks, inputs.max_total_tokens, other.replicas
        )
        inputs = replace(
            inputs,
            cost=other.cost,
            capacity_blocks=other.capacity_blocks,
            max_total_tokens=other.max_total_tokens,
        )
    replicas = inputs.replicas + sum(group.replicas for group in also)
    return replace(inputs, replicas=replicas, also=tuple(also))


@st.composite
def grouped_inputs(draw: st.DrawFn, shape: Shape) -> SimInputs:
    return draw(grouped(draw(sim_inputs(shape))))


def split(inputs: SimInputs, last: int) -> SimInputs:
    """The same run, with its `last` replicas as a kind of their own."""
    return replace(
        inputs,
        also=(EngineGroup(inputs.cost, inputs.capacity_blocks, inputs.max_total_tokens, last),),
    )
