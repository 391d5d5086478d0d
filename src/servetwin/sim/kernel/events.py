"""What happens to the replicas of one pool: arrivals, ends of loads, ends of iterations."""

from servetwin.sim.kernel import fetching, heap, loading, priority, waiting
from servetwin.sim.kernel.compile import inlined, spliced
from servetwin.sim.kernel.jump import boundary, catch_up, land, outlasts_clock, shorten, start
from servetwin.sim.kernel.kinds import holds, settings_of
from servetwin.sim.kernel.plan import make_plan
from servetwin.sim.kernel.router import choose
from servetwin.sim.kernel.seats import (
    disband,
    finish_prompt,
    leave_ring,
    release_followers,
    return_leaving,
)
from servetwin.sim.kernel.snapshots import take_before
from servetwin.sim.kernel.state import FOREVER, STATIC, Int, Ints, Record, State
from servetwin.sim.kernel.tree import set_time
from servetwin.types import Status

__all__ = [
    "cut",
    "end_load",
    "go_on",
    "hand",
    "holds",
    "iterate",
    "next_arrival",
    "reach",
    "reject",
    "send",
    "take_arrival",
    "wake",
]

REJECTED = int(Status.REJECTED)


@inlined
def next_arrival(state: State, world: Record) -> Int:
    time = FOREVER
    if world.root < world.roots:
        root = world.root
        if state.roots.size > 0:
            root = state.roots[root]
        time = state.arrival[root]
    if world.heap_size > 0 and state.heap_time[0] < time:
        time = state.heap_time[0]
    return time


@inlined
def take_arrival(state: State, settings: Record, world: Record) -> Int:
    """Number of the request that arrives next; of several at one time, the least."""
    root = world.root
    if settings.closed_loop == 0:
        world.root = root + 1
        return root
    if root < world.roots:
        number = state.roots[root]
        if world.heap_size == 0 or (state.arrival[number], number) < (
            state.heap_time[0],
            state.heap_request[0],
        ):
            world.root = root + 1
            return number
    number = state.heap_request[0]
    heap.pop(state.heap_time, state.heap_request, world.heap_size)
    world.heap_size -= 1
    return number


@inlined
def reject(state: State, settings: Record, request: Int, now: Int) -> None:
    state.status[request] = REJECTED
    if settings.closed_loop:
        release_followers(state, request, now)


@spliced
def send(state: State, settings: Record, request: Int, now: Int) -> None:
    """Send the request to the replica that the router chooses."""
    hand(state, settings, request, choose(state, settings, request, now), now, now)


@spliced
def hand(state: State, settings: Record, request: Int, r: Int, now: Int, before: Int) -> None:
    """Send the request to a replica, which is woken or cuts its jump short.

    Plans that were made `before` do not know of it.
    """
    rep = state.replica[r]
    state.home[request] = r
    state.outstanding[r] += 1
    state.outstanding_tokens[r] += state.input_tokens[request]
    if settings.interval > 0 and (rep.snapshot + 1) * settings.interval < now:
        take_before(state, settings, rep, r, now)
    if settings.by_priority:
        if state.waiting.since[request] < 0:  # else it comes from an engine that failed
            state.waiting.since[request] = now
        rep.queue_head = waiting.meld(state, rep.queue_head, request)
    elif rep.queue_head < 0:
        rep.queue_head = request
    else:
        state.next_waiting[rep.queue_tail] = request
    rep.queue_tail = request
    rep.queue_length += 1
    if rep.idle:
        wake(state.times, settings, rep, r, now)
    elif rep.open and (settings.loras or not settings.by_priority or rep.queue_head == request):
        rep.open = 0
        cut(state.times, settings, rep, r, before)


@spliced
def end_load(state: State, settings: Record, now: Int) -> None:
    """The request whose load or transfer ends is ready; its replica wakes, or ends its jump."""
    r = state.home[state.loads.request[0]]
    rep = state.replica[r]
    catch_up(state, settings, rep, r, now)
    loading.finish(state, settings, rep, r)
    if rep.idle:
        wake(state.times, settings, rep, r, now)
    else:
        cut(state.times, settings, rep, r, now)


@inlined
def wake(times: Ints, settings: Record, rep: Record, r: Int, now: Int) -> None:
    rep.idle = 0
    rep.jump = 1
    rep.first = 0
    set_time(times, settings.leaves, r, now)


@inlined
def cut(times: Ints, settings: Record, rep: Record, r: Int, now: Int) -> None:
    if shorten(rep, now):
        set_time(times, settings.leaves, r, boundary(rep, rep.jump))


@spliced
def iterate(state: State, settings: Record, r: Int, now: Int) -> None:
    """Bring a replica to the end of its jump, and plan."""
    rep, own = state.replica[r], settings_of(state, settings, r)
    reach(state, own, rep, r, now)
    go_on(state, own, rep, r)


@spliced
def reach(state: State, settings: Record, rep: Record, r: Int, now: Int) -> None:
    """Bring a replica to the end of its jump."""
    if settings.interval > 0 and (rep.snapshot + 1) * settings.interval < now:
        take_before(state, settings, rep, r, now)
    land(state, settings, rep, r, now)
    if rep.leaving_count > 0 or state.due[r] > 0:
        return_leaving(state, settings, rep, r)


@spliced
def go_on(state: State, settings: Record, rep: Record, r: Int) -> None:
    """Plan the next iteration, or many alike."""
    _finish_prompts(state, settings, rep, r)
    leave_ring(state, settings, rep, r)
    if settings.caching and settings.lag == 0 and rep.leaving_count > 0:
        return_leaving(state, settings, rep, r)
    if settings.scheduler == STATIC and rep.live == 0 and rep.seats > 0:
        disband(state, settings, rep, r)
    rep.blocks_before = settings.capacity - rep.free
    if rep.late:
        priority.go_on_late(state, settings, rep, r, 0)
    preempted = make_plan(state, settings, rep, r)
    start(state, settings, rep, r, preempted)
    if rep.joining > 0:
        fetching.count_first_gaps(state, settings, rep, r)
    if rep.late:
        priority.go_on_late(state, settings, rep, r, 1)
    if rep.idle == 0 and outlasts_clock(rep):
        state.world[0].overrun = 1
        return
    time = FOREVER if rep.idle else boundary(rep, rep.jump)
    set_time(state.times, settings.leaves, r, time)


@inlined
def _finish_prompts(state: State, settings: Record, rep: Record, r: Int) -> None:
    """Those whose last chunk was in the plan before begin to decode."""
    kept = 0
    for index in range(rep.prefills):
        number = state.prefilling[r, index]
        seat = state.seat[number]
        if seat.computed == seat.target:
            finish_prompt(state, settings, rep, r, number)
        else:
            state.prefilling[r, kept] = number
            kept += 1
    rep.prefills = kept
