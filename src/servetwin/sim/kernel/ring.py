"""Who leaves when: decoding seats, listed by the plan in which they are gone.

The entries form a ring, since a plan beyond the longest answer cannot be named. A bit for
each entry that is in use finds the next one 64 at a time.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from servetwin.sim.kernel.compile import inlined
from servetwin.sim.kernel.state import Int, Record, State

__all__ = ["insert", "plans_until_next", "remove", "take"]


def _count_zeros(context: Any, word: Any) -> Any:  # noqa: ARG001 (numba calls it so)
    """Position of the lowest bit that is set; `word` must not be zero."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), generate


_trailing_zeros: Any = intrinsic(_count_zeros)


@inlined
def insert(state: State, settings: Record, r: Int, number: Int) -> None:
    """List seat `number` under its `leave`."""
    seats = state.seat
    entry = seats[number].leave & settings.ring_mask
    after = state.ring[r, entry]
    seats[number].ring_next = after
    seats[number].ring_prev = -1
    if after >= 0:
        seats[after].ring_prev = number
    else:
        state.ring_used[r, entry >> 6] |= np.uint64(1) << np.uint64(entry & 63)
    state.ring[r, entry] = number


@inlined
def remove(state: State, settings: Record, r: Int, number: Int) -> None:
    """Strike seat `number` from the list of its `leave`."""
    seats = state.seat
    after = seats[number].ring_next
    before = seats[number].ring_prev
    if after >= 0:
        seats[after].ring_prev = before
    if before >= 0:
        seats[before].ring_next = after
        return
    entry = seats[number].leave & settings.ring_mask
    state.ring[r, entry] = after
    if after < 0:
        _unmark(state, r, entry)


@inlined
def take(state: State, settings: Record, r: Int, plan: Int) -> Int:
    """Empty the list of `plan` and return its first seat, or -1."""
    entry = plan & settings.ring_mask
    first = state.ring[r, entry]
    if first >= 0:
        state.ring[r, entry] = -1
        _unmark(state, r, entry)
    return first


@inlined
def _unmark(state: State, r: Int, entry: Int) -> None:
    state.ring_used[r, entry >> 6] &= ~(np.uint64(1) << np.uint64(entry & 63))


@inlined
def plans_until_next(state: State, settings: Record, r: Int, plan: Int) -> Int:
    """Distance from `plan`, whose list is empty, to the next that is not; one must be."""
    used = state.ring_used
    entry = (plan + 1) & settings.ring_mask
    word = entry >> 6
    bits = used[r, word] >> np.uint64(entry & 63)
    if bits != np.uint64(0):
        return np.int64(1) + np.int64(_trailing_zeros(bits))
    distance = np.int64(1) + 64 - (entry & 63)
    last = settings.ring_mask >> 6
    while True:
        word = (word + 1) & last
        bits = used[r, word]
        if bits != np.uint64(0):
            return distance + np.int64(_trailing_zeros(bits))
        distance += 64
