"""Drawn priorities of requests."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from servetwin.sim.inputs import SimInputs

__all__ = ["by_priority", "priorities", "with_priorities"]

PRIORITIES = ((0, 1), (-1, 0, 1), (-(2**31), 2**31 - 1), tuple(range(24)))


@st.composite
def priorities(draw: st.DrawFn, count: int) -> NDArray[np.int32] | None:
    """A few classes, or one for each request; None says that all are alike."""
    classes = draw(st.sampled_from((*PRIORITIES, None)))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    return None if classes is None else rng.choice(classes, count).astype(np.int32)


def by_priority(inputs: SimInputs) -> SimInputs:
    """The same run, of an engine that heeds priorities."""
    return replace(inputs, settings=replace(inputs.settings, scheduling_policy="priority"))


@st.composite
def with_priorities(draw: st.DrawFn, inputs: SimInputs) -> SimInputs:
    column = draw(priorities(len(inputs.workload)))
    return by_priority(replace(inputs, workload=replace(inputs.workload, priority=column)))
