"""The engines of a pool that fail and come back (section 11 of `docs/background/semantics.md`)."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field

from servetwin.sim.failures import LOSSES, Outage
from servetwin.sim.reference.engines import Engines
from servetwin.sim.reference.replica import Replica
from servetwin.sim.reference.schedulers import Queues
from servetwin.sim.reference.state import Batch, Request
from servetwin.units import NOT_YET

__all__ = ["BACK", "DETECTED", "FAILED", "FailingPool", "Toll"]

FAILED, DETECTED, BACK = 6, 7, 8
"""Behind all else that happens at the time; of the same kind, by engine."""


@dataclass
class Toll:
    """What all failures of a run cost."""

    losses: dict[str, int] = field(default_factory=lambda: dict.fromkeys(LOSSES, 0))
    outages: list[Outage] = field(default_factory=list)


class FailingPool:
    """The engines of a pool, of which the `first` has that number among those of all pools."""

    def __init__(self, engines: Engines, first: int, toll: Toll) -> None:
        plan = engines.inputs.failures
        assert plan is not None
        self.engines = engines
        self.replicas = engines.replicas
        self.plan = plan
        self.first = first
        self.events = engines.events
        self.losses = toll.losses
        self.outages = toll.outages
        self.down: set[int] = set()
        self.copied: set[int] = set()
        """Replicas that are down, and go on from copies."""
        self.returned = [-1] * engines.inputs.engines
        """When each engine was back last."""
        self.void: Callable[[Iterable[int], int], None] | None = None
        """Told which replicas have lost their KV."""
        for time, engine in zip(plan.times, plan.engines, strict=True):
            heapq.heappush(self.events, (time, FAILED, first + engine))

    def _lanes(self, engine: int) -> list[int]:
        return list(range(engine, len(self.replicas), self.engines.inputs.engines))

    def fail(self, engine: int, now: int) -> None:
        self.down.add(engine)
        lanes = self._lanes(engine)
        copied = {home for home in lanes if self._has_copies(engine, home, now)}
        back = now + self._outage(engine, [self.replicas[home] for home in copied])
        self.losses["interrupted"] += sum(
            bool(self.replicas[home].executing.work) for home in lanes
        )
        self._stop(lanes)
        for home in lanes:
            replica = self.replicas[home]
            replica.down = True
            if home in copied and replica.executing.work:
                replica.executing.outage = back - replica.now
                replica.busy_until = replica.run(replica.executing, back)
                heapq.heappush(self.events, (replica.busy_until, self.engines.iteration_kind, home))
        self.copied |= copied
        lost = set(lanes) - copied
        self._lose(lost, now)
        self.outages.append((now, self.first + engine, back))
        heapq.heappush(self.events, (now + self.plan.detect, DETECTED, self.first + engine))
        heapq.heappush(self.events, (back, BACK, self.first + engine))
        if self.plan.neighbour:
            lost |= self._lose_copies((engine - 1) % self.engines.inputs.engines, now)
        if self.void:
            self.void(lost, now)

    def _has_copies(self, engine: int, home: int, now: int) -> bool:
        """Whether what the last plan of a replica found has copies when its engine fails."""
        if not (self.plan.replicated and self.plan.neighbour):
            return self.plan.replicated
        holder = self.plan.holder(engine, self.engines.inputs.engines)
        fails = (now, holder) in zip(self.plan.times, self.plan.engines, strict=True)
        up = holder not in self.down and not fails
        return up and self.returned[holder] < self.replicas[home].now

    def _outage(self, engine: int, copied: list[Replica]) -> int:
        own = self.replicas[engine].inputs.failures
        assert own is not None
        blocks = sum(replica.blocks_before for replica in copied)
        running = [replica.executing.duration for replica in copied if replica.executing.work]
        return own.outage(blocks, max(running, default=0))

    def _stop(self, lanes: Iterable[int]) -> None:
        """No iteration under way will end."""
        self._strike(lambda kind, number: kind == self.engines.iteration_kind and number in lanes)
        for home in lanes:
            replica = self.replicas[home]
            if replica.ring:
                replica.ring.fail(replica.executing)

    def _lose(self, lanes: Iterable[int], now: int) -> None:
        """The KV of stopped replicas is gone."""
        home_of = self.engines.home
        self._strike_loads({number for number, home in enumerate(home_of) if home in lanes})
        for home in sorted(lanes):
            self._begin_anew(self.replicas[home], now)

    def _lose_copies(self, engine: int, now: int) -> set[int]:
        """The neighbour of an engine fails, which may be down and about to need its copies.

        Return which of its replicas have lost them.
        """
        lost = self.copied & set(self._lanes(engine))
        if not lost:
            return lost
        self.copied -= lost
        self._stop(lost)
        self._lose(lost, now)
        if lost & self.engines.router.down:
            self._reroute(engine, now)
        return lost

    def _strike(self, gone: Callable[[int, int], bool]) -> None:
        """Strike events, by kind and number, from those to come."""
        self.events[:] = [event for event in self.events if not gone(*event[1:])]
        heapq.heapify(self.events)

    def _begin_anew(self, replica: Replica, now: int) -> None:
        """All that the replica knew is gone: its requests queue up again, as they arrived."""
        queues = replica.queues
        inside = [*queues.running, *queues.loading, *queues.ready]
        lost = {request for request in inside if request.finish == NOT_YET}
        lost |= {work.request for work in replica.executing.work if work.request.in_flight}
        lost -= set(queues.waiting)
        for request in queues.running:
            if request.finish == NOT_YET:
                self.losses["prompt_tokens"] += _computed(request, replica)
        for request in queues.ready:
            self.losses["prompt_tokens"] += request.input_tokens if request.remote else 0
        for request in (*lost, *queues.waiting):
            if request.remote and request not in queues.running and request not in queues.ready:
                _fetch_again(request)
            else:
                self._reset(request, begun=request in lost)
        for request, end in queues.ends.items():
            if request in lost and end > now and not request.remote:
                request.kv_transfer -= end - now
        self._queue_up(lost, queues)
        for others in (queues.running, queues.loading, queues.ready, queues.ends):
            others.clear()
        replica.pool.lose()
        replica.executing = replica.staged = Batch()
        replica.busy_until = NOT_YET
        replica.blocks_before = 0

    def _queue_up(self, lost: Iterable[Request], queues: Queues) -> None:
        """Let requests wait before all others, or where their priorities put them."""
        order = sorted(lost, key=lambda request: (request.arrival, request.number))
        queues.waiting = deque([*order, *queues.waiting])
        if self.engines.inputs.settings.by_priority:
            queues.waiting = deque(sorted(queues.waiting, key=lambda request: request.rank))

    def forget_prompts(self, sources: Callable[[Request], bool], now: int) -> None:
        """The KV that requests were to fetch is lost: they are computed in this pool."""
        for home, replica in enumerate(self.replicas):
            queues = replica.queues
            loading = [r for r in queues.loading if r.remote and sources(r)]
            waiting = [r for r in queues.waiting if r.remote and sources(r)]
            self._strike_loads({request.number for request in loading})
            for request in sorted(loading, key=lambda request: (request.arrival, request.number)):
                queues.loading.remove(request)
                del queues.ends[request]
                replica.pool.release(request)
            for request in (*loading, *waiting):
                self.losses["prompt_tokens"] += request.input_tokens
                self._reset(request, begun=True)
            self._queue_up(loading, queues)
            if loading or waiting:
                self.engines.rouse(home, now)

    def _strike_loads(self, numbers: Container[int]) -> None:
        loaded = self.engines.loaded_kind
        self._strike(lambda kind, number: kind == loaded and number in numbers)

    def _reset(self, request: Request, *, begun: bool) -> None:
        tokens = request.sampled
        if request.joined == NOT_YET:
            request.handover_transfer = 0
        request.remote = False
        request.retries += begun or tokens > 0
        self.losses["prompts"] += tokens > 0
        self.losses["output_tokens"] += tokens
        request.delivered = max(request.delivered, tokens)
        request.generated = request.in_flight = 0
        request.computed = request.prompt_end = request.blocks = 0

    def detect(self, engine: int, now: int) -> None:
        self.engines.router.down |= set(self._lanes(engine))
        self._reroute(engine, now)

    def _reroute(self, engine: int, now: int) -> None:
        """Send those who wait for an engine that is known to be down to others."""
        router = self.engines.router
        if not self.plan.reroute or len(router.down) == len(self.replicas):
            return
        for home in self._lanes(engine):
            queues = self.replicas[home].queues
            # Of one in flight, the last token is still to come, here.
            moving = [
                request
                for request in queues.waiting
                if not request.in_flight and not router.all_down(request)
            ]
            queues.waiting = deque(request for request in queues.waiting if request not in moving)
            for request in moving:
                router.finished(home, request)
                self.engines.take(request, now)
            self.losses["rerouted"] += len(moving)

    def come_back(self, engine: int, now: int) -> None:
        self.down.remove(engine)
        self.returned[engine] = now
        self.copied -= set(self._lanes(engine))
        self.engines.router.down -= set(self._lanes(engine))
        for home in self._lanes(engine):
            replica = self.replicas[home]
            replica.down = False
            if replica.queues.waiting or replica.queues.ready:
                self.engines.rouse(home, now)


def _fetch_again(request: Request) -> None:
    """Its KV is where it was."""
    request.computed = request.prompt_end = request.blocks = request.handover_transfer = 0


def _computed(request: Request, replica: Replica) -> int:
    """Prompt tokens that iterations have computed since the request was admitted."""
    if request.remote:  # in the prefill pool
        return request.input_tokens
    if request.prompt_begun == NOT_YET:
        return 0
    work = (*replica.executing.work, *replica.staged.work)
    planned = sum(item.tokens for item in work if item.request is request and not item.decode)
    return min(request.computed, request.prompt_end) - request.prompt_done - planned
