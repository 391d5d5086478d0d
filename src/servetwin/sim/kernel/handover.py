"""Requests that leave a prefill pool for a decode pool: `reference/pools.py`, in flat arrays.

A request that leaves gives up its seat, but not its blocks.
"""

from servetwin.sim.kernel import heap, prefix
from servetwin.sim.kernel.compile import inlined, outlined
from servetwin.sim.kernel.state import Flag, Int, Record, State

__all__ = ["leave", "let_go", "next_request"]


@outlined
def leave(state: State, seat: Record, time: Int) -> Flag:
    """Hand a request over when its first token comes, at `time`; False where that is its last."""
    bridge, request = state.bridge, seat.request
    if bridge.outputs[request] == 1:
        return False
    bridge.held[request] = seat.blocks
    state.generated[request] = 1
    link = bridge.link[0]
    heap.push(bridge.time, bridge.request, link.leaving, time, request)
    link.leaving += 1
    return True


@inlined
def next_request(state: State) -> Int:
    """Strike the hand-over that is next from those to come, and return whose it is."""
    bridge = state.bridge
    link, request = bridge.link[0], bridge.request[0]
    heap.pop(bridge.time, bridge.request, link.leaving)
    link.leaving -= 1
    return request


@inlined
def let_go(state: State, settings: Record, rep: Record, r: Int, request: Int) -> None:
    """Take back the blocks of a request that the decode pool has."""
    held = state.bridge.held
    prefix.release_of(state, settings, rep, r, request, held[request])
    held[request] = 0
