"""The replicas of one pool behind their router, and the events that they cause."""

from __future__ import annotations

import heapq

from servetwin.sim.inputs import SimInputs
from servetwin.sim.reference.gaps import TokenGapCounter
from servetwin.sim.reference.replica import Replica
from servetwin.sim.reference.ring import Ring
from servetwin.sim.reference.routers import Router
from servetwin.sim.reference.state import Request
from servetwin.units import NOT_YET

__all__ = ["Engines", "Event"]

Event = tuple[int, int, int]
"""When, of which kind, and the request or replica that it concerns."""


class Engines:
    """A pool: `loaded_kind` and `iteration_kind` are the kinds of its events."""

    def __init__(
        self,
        inputs: SimInputs,
        gaps: TokenGapCounter,
        events: list[Event],
        loaded_kind: int,
        iteration_kind: int,
    ) -> None:
        self.inputs = inputs
        stages = inputs.stages
        self.rings = [Ring(stages) for _ in range(stages.engines)] if stages else [None]
        kinds = [group for group in inputs.groups for _ in range(group.replicas)]
        self.replicas = [
            Replica(kind, gaps, self.rings[number % len(self.rings)])
            for number, kind in enumerate(kinds)
        ]
        self.router = Router(inputs.router, self.replicas, inputs.seed)
        self.home = [-1] * len(inputs.workload)
        self.events = events
        self.loaded_kind = loaded_kind
        self.iteration_kind = iteration_kind

    def take(self, request: Request, now: int) -> None:
        """Send `request` to a replica."""
        home = self.router.route(request)
        self.home[request.number] = home
        self.replicas[home].enqueue(request)
        self.rouse(home, now)

    def loaded(self, request: Request, now: int) -> None:
        """All blocks of `request` are where it is to run."""
        home = self.home[request.number]
        self.replicas[home].queues.loaded(request)
        self.rouse(home, now)

    def rouse(self, home: int, now: int) -> None:
        """Have an idle replica plan."""
        replica = self.replicas[home]
        if replica.busy_until == NOT_YET and not replica.down:
            replica.busy_until = now
            heapq.heappush(self.events, (now, self.iteration_kind, home))

    def iterate(self, home: int, now: int) -> list[Request]:
        """End one iteration of a replica and begin the next; return who finished."""
        replica = self.replicas[home]
        finished = replica.wake(now)
        for request in finished:
            self.router.finished(home, request)
        for end, request in replica.queues.begun:
            heapq.heappush(self.events, (end, self.loaded_kind, request.number))
        replica.queues.begun.clear()
        if replica.busy_until != NOT_YET:
            heapq.heappush(self.events, (replica.busy_until, self.iteration_kind, home))
        return finished
