"""Which replica takes an arriving request; the policies of `reference/routers.py`."""

import numpy as np

from servetwin.sim import routing
from servetwin.sim.kernel.compile import inlined, outlined
from servetwin.sim.kernel.jump import catch_up
from servetwin.sim.kernel.kinds import all_hold, may_take
from servetwin.sim.kernel.prefix import find
from servetwin.sim.kernel.state import FOREVER, Flag, Int, Ints, Record, State
from servetwin.types import ROUTERS

__all__ = ["all_down", "choose", "choose_among"]

ROUND_ROBIN = ROUTERS.index("round-robin")
LEAST_OUTSTANDING = ROUTERS.index("least-outstanding")
LEAST_TOKENS = ROUTERS.index("least-tokens")
RANDOM = ROUTERS.index("random")
CACHE_AWARE = ROUTERS.index("cache-aware")

_GAMMA = np.uint64(routing.GAMMA)
_MIX_1 = np.uint64(routing.MIX_1)
_MIX_2 = np.uint64(routing.MIX_2)


@inlined
def _below(gate: Record, bound: Int) -> Int:
    word = np.uint64(gate.random) + _GAMMA
    gate.random = np.int64(word)
    word = (word ^ (word >> np.uint64(30))) * _MIX_1
    word = (word ^ (word >> np.uint64(27))) * _MIX_2
    word = word ^ (word >> np.uint64(31))
    return np.int64(word % np.uint64(bound))


@inlined
def _least(values: Ints, due: Ints, due_time: Ints, time: Int) -> Int:
    """First replica with the least of what has not finished before `time`."""
    best = 0
    least = values[0] - (due[0] if due_time[0] < time else 0)
    for r in range(1, values.size):
        value = values[r] - (due[r] if due_time[r] < time else 0)
        if value < least:
            least = value
            best = r
    return best


@inlined
def _unfinished(state: State, r: Int, time: Int) -> Int:
    return state.outstanding[r] - (state.due[r] if state.due_time[r] < time else 0)


@outlined
def _least_ahead(state: State, settings: Record, request: Int, time: Int) -> Int:
    """First replica with the least input tokens of others and uncached ones of `request`."""
    inputs = state.input_tokens[request]
    known = inputs + state.generated[request]
    best = np.int64(0)
    least = FOREVER
    for r in range(settings.replicas):
        catch_up(state, settings, state.replica[r], r, time)
        tokens = state.outstanding_tokens[r]
        if state.due_time[r] < time:
            tokens -= state.due_tokens[r]
        hits, _ = find(state, settings, r, request, known)
        ahead = tokens + inputs - hits * settings.block_size
        if ahead < least:
            least = ahead
            best = np.int64(r)
    return best


@inlined
def _is_up(state: State, settings: Record, r: Int) -> Flag:
    """Whether a replica's engine has not failed, as far as is known."""
    return state.outages.known[r % settings.engines] == 0


@inlined
def all_down(state: State, settings: Record, request: Int) -> Flag:
    """Whether all replicas that may take a request have failed, as far as is known."""
    if settings.fails:
        for r in range(settings.replicas):
            if may_take(state, settings, request, r) and _is_up(state, settings, r):
                return False
    return True


@inlined
def _is_candidate(state: State, settings: Record, request: Int, r: Int, down_too: Flag) -> Flag:
    if settings.fails and not down_too and not _is_up(state, settings, r):
        return False
    return may_take(state, settings, request, r)


@outlined
def _draw_among(state: State, settings: Record, request: Int, down_too: Flag) -> Int:
    """Draw one of the candidates."""
    candidates = 0
    for r in range(settings.replicas):
        candidates += _is_candidate(state, settings, request, r, down_too)
    left = _below(state.gate[0], candidates)
    for r in range(settings.replicas):
        if _is_candidate(state, settings, request, r, down_too):
            if left == 0:
                return np.int64(r)
            left -= 1
    return np.int64(-1)


@inlined
def _ahead(state: State, settings: Record, request: Int, r: Int, time: Int) -> Int:
    """What the router wants least of: requests, or tokens, before a request on a replica."""
    if settings.router == LEAST_OUTSTANDING:
        return _unfinished(state, r, time)
    tokens = state.outstanding_tokens[r]
    if state.due_time[r] < time:
        tokens -= state.due_tokens[r]
    if settings.router == CACHE_AWARE and settings.caching:
        catch_up(state, settings, state.replica[r], r, time)
        known = state.input_tokens[request] + state.generated[request]
        hits, _ = find(state, settings, r, request, known)
        tokens -= hits * settings.block_size
    return tokens


@outlined
def choose_among(state: State, settings: Record, request: Int, time: Int) -> Int:
    """`choose`, where not all replicas are candidates: they failed, or cannot hold the request."""
    gate, count = state.gate[0], settings.replicas
    down_too = all_down(state, settings, request)
    if settings.router == ROUND_ROBIN:
        while True:
            turn = np.int64(gate.turn)
            gate.turn = turn + 1 if turn + 1 < count else 0
            if _is_candidate(state, settings, request, turn, down_too):
                return turn
    if settings.router in (LEAST_OUTSTANDING, LEAST_TOKENS, CACHE_AWARE):
        best, least = np.int64(-1), FOREVER
        for r in range(count):
            if _is_candidate(state, settings, request, r, down_too):
                ahead = _ahead(state, settings, request, r, time)
                if ahead < least:
                    best, least = np.int64(r), np.int64(ahead)
        return best
    first = _draw_among(state, settings, request, down_too)
    if settings.router == RANDOM:
        return first
    second = _draw_among(state, settings, request, down_too)
    if _unfinished(state, second, time) < _unfinished(state, first, time):
        return second
    return first


@inlined
def choose(state: State, settings: Record, request: Int, time: Int) -> Int:
    """Replica for a request that arrives at `time`."""
    if settings.kinds and not all_hold(state, settings, request):
        return choose_among(state, settings, request, time)
    gate = state.gate[0]
    count = settings.replicas
    if count == 1:
        return np.int64(0)
    if settings.router == ROUND_ROBIN:
        turn = gate.turn
        gate.turn = turn + 1 if turn + 1 < count else 0
        return turn
    if settings.router == LEAST_OUTSTANDING:
        return np.int64(_least(state.outstanding, state.due, state.due_time, time))
    if settings.router == CACHE_AWARE and settings.caching:
        return _least_ahead(state, settings, request, time)
    if settings.router == LEAST_TOKENS or settings.router == CACHE_AWARE:
        tokens = state.outstanding_tokens
        return np.int64(_least(tokens, state.due_tokens, state.due_time, time))
    first = _below(gate, count)
    if settings.router == RANDOM:
        return first
    second = _below(gate, count)
    if _unfinished(state, second, time) < _unfinished(state, first, time):
        return second
    return first
