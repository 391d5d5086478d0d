"""Replicas of several kinds: each kind has a record of settings, which differ in cost and room.

Whoever needs one of these asks `settings_of`; everything else is the same in all records.
"""

import numpy as np

from servetwin.sim.kernel.blocks import blocks_for
from servetwin.sim.kernel.compile import inlined, outlined, spliced
from servetwin.sim.kernel.state import Flag, Int, Record, State

__all__ = ["all_hold", "fits", "holds", "may_take", "settings_of"]


@spliced
def settings_of(state: State, settings: Record, r: Int) -> Record:
    """Settings of a replica, given those of any.

    Spliced, so that a kernel without kinds sees that they are those it has.
    """
    if settings.kinds:
        return state.settings[state.replica[r].kind]
    return settings


@inlined
def holds(settings: Record, inputs: Int, outputs: Int) -> Flag:
    """Whether an engine could ever run a request of so many tokens."""
    total = inputs + outputs
    return total <= settings.max_total and blocks_for(settings, total - 1) <= settings.capacity


@inlined
def fits(state: State, settings: Record, request: Int) -> Flag:
    """Whether any engine could ever run a request."""
    if settings.kinds:
        return _holding(state, settings, request) > 0
    return holds(settings, state.input_tokens[request], state.output_tokens[request])


@outlined
def _holding(state: State, settings: Record, request: Int) -> Int:
    """How many kinds could ever run a request."""
    count = np.int64(0)
    inputs, outputs = state.input_tokens[request], state.output_tokens[request]
    for kind in range(settings.kinds):
        count += holds(state.settings[kind], inputs, outputs)
    return count


@inlined
def all_hold(state: State, settings: Record, request: Int) -> Flag:
    """Whether engines of all kinds could run a request."""
    return _holding(state, settings, request) == settings.kinds


@inlined
def may_take(state: State, settings: Record, request: Int, r: Int) -> Flag:
    """Whether a replica could ever run a request, which some can."""
    if settings.kinds:
        own = state.settings[state.replica[r].kind]
        return holds(own, state.input_tokens[request], state.output_tokens[request])
    return True
