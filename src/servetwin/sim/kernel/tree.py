"""A tournament tree over the replicas' next events: least time, then least number."""

from servetwin.sim.kernel.compile import inlined
from servetwin.sim.kernel.state import Int, Ints

__all__ = ["set_time", "soonest"]


@inlined
def set_time(times: Ints, leaves: Int, replica: Int, time: Int) -> None:
    node = leaves + replica
    times[node] = time
    node >>= 1
    while node > 0:
        left = times[2 * node]
        right = times[2 * node + 1]
        times[node] = left if left <= right else right
        node >>= 1


@inlined
def soonest(times: Ints, leaves: Int) -> Int:
    node = 1
    while node < leaves:
        node *= 2
        if times[node] > times[node + 1]:
            node += 1
    return node - leaves
