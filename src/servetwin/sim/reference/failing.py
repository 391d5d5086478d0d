"""Engines that fail and come back (section 11 of `docs/background/semantics.md`)."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from servetwin.sim.failures import LOSSES, Failures, Outage
from servetwin.sim.inputs import SimInputs
from servetwin.sim.outcome import Outcome
from servetwin.sim.reference.cluster import ITERATION, LOADED, Cluster, column, outcome_of
from servetwin.sim.reference.replica import Replica
from servetwin.sim.reference.state import Batch, Request
from servetwin.units import NOT_YET

__all__ = ["FailingCluster", "run_failing"]

FAILED, DETECTED, BACK = 6, 7, 8
"""Behind all else that happens at the time; of the same kind, by engine."""


class FailingCluster(Cluster):
    """A cluster in which whole engines fail."""

    def __init__(self, inputs: SimInputs, plan: Failures, *, check: bool = False) -> None:
        super().__init__(inputs, check=check)
        self.plan = plan
        self.down: set[int] = set()
        self.copied: set[int] = set()
        """Replicas that are down, and go on from copies."""
        self.returned = [-1] * inputs.engines
        """When each engine was back last."""
        self.outages: list[Outage] = []
        self.losses = dict.fromkeys(LOSSES, 0)
        self.unfinished = len(self.requests)
        for time, engine in zip(plan.times, plan.engines, strict=True):
            heapq.heappush(self.events, (time, FAILED, engine))

    def happen(self, kind: int, number: int, now: int) -> None:
        if kind == FAILED:
            if number not in self.down:
                self._fail(number, now)
        elif kind == DETECTED:
            self._detect(number, now)
        elif kind == BACK:
            self._return(number, now)
        else:
            super().happen(kind, number, now)
        if not self.unfinished:
            self.events.clear()

    def _release_children(self, number: int, now: int) -> None:
        self.unfinished -= 1
        super()._release_children(number, now)

    def _lanes(self, engine: int) -> list[int]:
        return list(range(engine, len(self.replicas), self.inputs.engines))

    def _fail(self, engine: int, now: int) -> None:
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
                heapq.heappush(self.events, (replica.busy_until, ITERATION, home))
        self.copied |= copied
        self._lose(set(lanes) - copied, now)
        self.outages.append((now, engine, back))
        heapq.heappush(self.events, (now + self.plan.detect, DETECTED, engine))
        heapq.heappush(self.events, (back, BACK, engine))
        if self.plan.neighbour:
            self._lose_copies((engine - 1) % self.inputs.engines, now)

    def _has_copies(self, engine: int, home: int, now: int) -> bool:
        """Whether what the last plan of a replica found has copies when its engine fails."""
        if not (self.plan.replicated and self.plan.neighbour):
            return self.plan.replicated
        holder = self.plan.holder(engine, self.inputs.engines)
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
        self._strike(lambda kind, number: kind == ITERATION and number in lanes)
        for home in lanes:
            replica = self.replicas[home]
            if replica.ring:
                replica.ring.fail(replica.executing)

    def _lose(self, lanes: Iterable[int], now: int) -> None:
        """The KV of stopped replicas is gone."""
        self._strike(lambda kind, number: kind == LOADED and self.engines.home[number] in lanes)
        for home in sorted(lanes):
            self._begin_anew(self.replicas[home], now)

    def _lose_copies(self, engine: int, now: int) -> None:
        """The neighbour of an engine fails, which may be down and about to need its copies."""
        lost = self.copied & set(self._lanes(engine))
        if not lost:
            return
        self.copied -= lost
        self._stop(lost)
        self._lose(lost, now)
        if lost & self.engines.router.down:
            self._reroute(engine, now)

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
        for request in (*lost, *queues.waiting):
            self._reset(request, begun=request in lost)
        for request, end in queues.ends.items():
            if request in lost and end > now:
                request.kv_transfer -= end - now
        order = sorted(lost, key=lambda request: (request.arrival, request.number))
        queues.waiting = deque([*order, *queues.waiting])
        if self.inputs.settings.by_priority:
            queues.waiting = deque(sorted(queues.waiting, key=lambda request: request.rank))
        for others in (queues.running, queues.loading, queues.ready, queues.ends):
            others.clear()
        replica.pool.lose()
        replica.executing = replica.staged = Batch()
        replica.busy_until = NOT_YET
        replica.blocks_before = 0

    def _reset(self, request: Request, *, begun: bool) -> None:
        tokens = request.sampled
        request.retries += begun or tokens > 0
        self.losses["prompts"] += tokens > 0
        self.losses["output_tokens"] += tokens
        request.delivered = max(request.delivered, tokens)
        request.generated = request.in_flight = 0
        request.computed = request.prompt_end = request.blocks = 0

    def _detect(self, engine: int, now: int) -> None:
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

    def _return(self, engine: int, now: int) -> None:
        self.down.remove(engine)
        self.returned[engine] = now
        self.copied -= set(self._lanes(engine))
        self.engines.router.down -= set(self._lanes(engine))
        for home in self._lanes(engine):
            replica = self.replicas[home]
            replica.down = False
            if replica.queues.waiting or replica.queues.ready:
                self.engines.rouse(home, now)


def _computed(request: Request, replica: Replica) -> int:
    """Prompt tokens that iterations have computed since the request was admitted."""
    if request.prompt_begun == NOT_YET:
        return 0
    work = (*replica.executing.work, *replica.staged.work)
    planned = sum(item.tokens for item in work if item.request is request and not item.decode)
    return min(request.computed, request.prompt_end) - request.prompt_done - planned


def run_failing(inputs: SimInputs, plan: Failures, *, check: bool = False) -> Outcome:
    """Simulate a deployment whose engines fail."""
    cluster = FailingCluster(inputs, plan, check=check)
    cluster.run()
    return replace(
        outcome_of(cluster),
        outages=np.array(cluster.outages, np.int64).reshape(-1, 3),
        losses=np.array([cluster.losses[name] for name in LOSSES], np.int64),
        retries=column(cluster.requests, "retries").astype(np.int32),
        prefill_outage=column(cluster.requests, "prefill_outage"),
        decode_outage=column(cluster.requests, "decode_outage"),
    )
