"""Who waits where priorities count: a pairing heap for each replica, in two arrays for all.

A request knows its first child and, in `State.next_waiting`, the child of the same parent
behind it; `queue_head` of the replica is the root, who is served first (Fredman, Sedgewick,
Sleator and Tarjan, 1986).
"""

import numpy as np

from servetwin.sim.inputs import SimInputs
from servetwin.sim.kernel.compile import inlined, outlined
from servetwin.sim.kernel.state import Flag, Int, Record, State, Waiting

__all__ = ["heap_up", "line_up", "make_waiting", "meld", "pop", "precedes"]


def make_waiting(inputs: SimInputs) -> Waiting:
    """Nobody waits; empty arrays where priorities do not count."""
    n = len(inputs.workload) if inputs.settings.by_priority else 0
    priority = inputs.workload.priority
    if priority is None or n == 0:
        priority = np.zeros(n, np.int32)
    return Waiting(np.full(n, -1, np.int32), priority, np.full(n, -1, np.int64))


@inlined
def precedes(state: State, one: Int, other: Int) -> Flag:
    """Whether request `one` is served before `other`: `Request.rank` of the reference."""
    waiting = state.waiting
    if waiting.priority[one] != waiting.priority[other]:
        return waiting.priority[one] < waiting.priority[other]
    if waiting.since[one] != waiting.since[other]:
        return waiting.since[one] < waiting.since[other]
    return one < other


@outlined
def meld(state: State, one: Int, other: Int) -> Int:
    """Put the later root of two below the other, which is returned; `one` may be -1.

    A request alone is a root: so it begins to wait.
    """
    if one < 0:
        return other
    first, second = one, other
    if precedes(state, other, one):
        first, second = other, one
    state.next_waiting[second] = state.waiting.child[first]
    state.waiting.child[first] = second
    return first


@outlined
def pop(state: State, rep: Record) -> None:
    """Remove `queue_head`, which the caller has read, and is a root again."""
    following = state.next_waiting
    node = np.int64(state.waiting.child[rep.queue_head])
    state.waiting.child[rep.queue_head] = -1
    paired = np.int64(-1)  # pairs of children, the last first
    while node >= 0:
        other = np.int64(following[node])
        rest = np.int64(-1)
        if other >= 0:
            rest = np.int64(following[other])
            node = meld(state, node, other)
        following[node] = paired
        paired = node
        node = rest
    head = np.int64(-1)
    while paired >= 0:
        rest = np.int64(following[paired])
        following[paired] = -1
        head = meld(state, head, paired)
        paired = rest
    rep.queue_head = head


@outlined
def line_up(state: State, rep: Record) -> None:
    """Make the heap a list from `queue_head` to `queue_tail`, in order, while engines are down."""
    head = tail = np.int64(-1)
    while rep.queue_head >= 0:
        request = np.int64(rep.queue_head)
        pop(state, rep)
        state.next_waiting[request] = -1
        if tail < 0:
            head = request
        else:
            state.next_waiting[tail] = request
        tail = request
    rep.queue_head = head
    rep.queue_tail = tail


@outlined
def heap_up(state: State, rep: Record) -> None:
    """Make a list a heap again."""
    request, head = np.int64(rep.queue_head), np.int64(-1)
    while request >= 0:
        following = np.int64(state.next_waiting[request])
        state.next_waiting[request] = -1
        head = meld(state, head, request)
        request = following
    rep.queue_head = head
