"""The order of events: arrivals, loads and iteration ends of the same time, then by number."""

from __future__ import annotations

import heapq

import numpy as np

from servetwin.cache.tiers import TierTraffic
from servetwin.sim.inputs import Outcome, SimInputs
from servetwin.sim.reference.gaps import TokenGapCounter
from servetwin.sim.reference.replica import Replica
from servetwin.sim.reference.routers import Router
from servetwin.sim.reference.snapshots import Snapshots
from servetwin.sim.reference.state import Request
from servetwin.sim.reference.tiered import TieredPool
from servetwin.types import Status
from servetwin.units import CLOCK_END_PS, NOT_YET

__all__ = ["outcome_of", "run"]

ARRIVAL, LOADED, ITERATION = range(3)


class Cluster:
    """All replicas, the router before them, and the events to come."""

    def __init__(self, inputs: SimInputs, *, check: bool = False) -> None:
        workload = inputs.workload
        self.inputs = inputs
        self.check = check
        self.gaps = TokenGapCounter(inputs.token_gaps)
        self.replicas = [Replica(inputs, self.gaps) for _ in range(inputs.replicas)]
        self.router = Router(
            inputs.router, [replica.pool for replica in self.replicas], inputs.seed
        )
        self.snapshots = Snapshots(inputs.snapshot_interval, self.replicas)
        columns = zip(workload.input_tokens, workload.output_tokens, workload.arrival, strict=True)
        self.requests = [
            Request(number, int(i), int(o), int(t)) for number, (i, o, t) in enumerate(columns)
        ]
        self.home = [-1] * len(self.requests)
        self.status = [Status.UNFINISHED] * len(self.requests)
        self.children: dict[int, list[int]] = {}
        if workload.parent is not None:
            for number, parent in enumerate(workload.parent):
                if parent >= 0:
                    self.children.setdefault(int(parent), []).append(number)
        self.events = [
            (request.arrival, ARRIVAL, request.number)
            for request in self.requests
            if request.arrival != NOT_YET
        ]
        heapq.heapify(self.events)
        self.handled = 0

    def run(self) -> None:
        while self.events:
            now, kind, number = heapq.heappop(self.events)
            if now > CLOCK_END_PS:
                raise self.inputs.outlasts_clock()
            self.handled += 1
            self.snapshots.take_before(now)
            if kind == ARRIVAL:
                self._arrive(self.requests[number], now)
            elif kind == LOADED:
                home = self.home[number]
                self.replicas[home].queues.loaded(self.requests[number])
                self._rouse(home, now)
            else:
                self._iterate(number, now)
            if self.check:
                for replica in self.replicas:
                    replica.check_integrity()
        self.snapshots.finish()

    def _arrive(self, request: Request, now: int) -> None:
        if not self.inputs.fits(request.input_tokens, request.output_tokens):
            self.status[request.number] = Status.REJECTED
            self._release_children(request.number, now)
            return
        home = self.router.route(request)
        self.home[request.number] = home
        self.replicas[home].enqueue(request)
        self._rouse(home, now)

    def _rouse(self, home: int, now: int) -> None:
        """Have an idle replica plan."""
        replica = self.replicas[home]
        if replica.busy_until == NOT_YET:
            replica.busy_until = now
            heapq.heappush(self.events, (now, ITERATION, home))

    def _iterate(self, home: int, now: int) -> None:
        replica = self.replicas[home]
        for request in replica.wake(now):
            self.status[request.number] = Status.OK
            self.router.finished(home, request)
            self._release_children(request.number, now)
        for end, request in replica.queues.begun:
            heapq.heappush(self.events, (end, LOADED, request.number))
        replica.queues.begun.clear()
        if replica.busy_until != NOT_YET:
            heapq.heappush(self.events, (replica.busy_until, ITERATION, home))

    def _release_children(self, number: int, now: int) -> None:
        think_time = self.inputs.workload.think_time
        for child in self.children.get(number, ()):
            think = 0 if think_time is None else int(think_time[child])
            request = self.requests[child]
            request.arrival = now + max(think, 1)
            heapq.heappush(self.events, (request.arrival, ARRIVAL, child))


def run(inputs: SimInputs, *, check: bool = False) -> Outcome:
    """Simulate; with `check`, assert the integrity of every replica after every event."""
    cluster = Cluster(inputs, check=check)
    cluster.run()
    return outcome_of(cluster)


def outcome_of(cluster: Cluster) -> Outcome:
    """What happened to whom, as columns."""
    inputs, requests = cluster.inputs, cluster.requests

    def column(name: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return np.array([getattr(request, name) for request in requests], np.int64)

    return Outcome(
        arrival=column("arrival"),
        first_scheduled=column("first_scheduled"),
        first_token=column("first_token"),
        finish=column("finish"),
        preemptions=column("preemptions").astype(np.int32),
        replica=np.array(cluster.home, np.int32),
        status=np.array(cluster.status, np.int8),
        prefill_time=column("prefill_time"),
        decode_time=column("decode_time"),
        preempted_time=column("preempted_time"),
        peak_blocks=max(replica.pool.peak for replica in cluster.replicas),
        gaps=cluster.gaps.counts,
        snapshots=cluster.snapshots.rows(),
        cached_tokens=None if inputs.prefixes is None else column("cached_tokens").astype(np.int32),
        kv_transfer=column("kv_transfer") if inputs.tiers else None,
        tiers=_traffic(cluster),
        iterations=sum(replica.iterations for replica in cluster.replicas),
        split_chunks=sum(replica.split_chunks for replica in cluster.replicas),
        events=cluster.handled,
    )


def _traffic(cluster: Cluster) -> tuple[TierTraffic, ...]:
    """Counts of each tier, summed over the replicas."""
    pools = (replica.pool for replica in cluster.replicas)
    counts = [pool.tiers.traffic() for pool in pools if isinstance(pool, TieredPool)]
    return tuple(
        TierTraffic(limits.name, *map(sum, zip(*(own[number] for own in counts), strict=True)))
        for number, limits in enumerate(cluster.inputs.tiers)
    )
