"""The order of events: arrivals, loads and iteration ends of the same time, then by number."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from servetwin.cache.tiers import TierTraffic
from servetwin.sim.inputs import SimInputs
from servetwin.sim.outcome import Outcome
from servetwin.sim.reference.engines import Engines, Event
from servetwin.sim.reference.gaps import TokenGapCounter
from servetwin.sim.reference.snapshots import Snapshots
from servetwin.sim.reference.state import Request
from servetwin.sim.reference.tiered import TieredPool
from servetwin.types import Status
from servetwin.units import CLOCK_END_PS, NOT_YET

__all__ = ["Cluster", "Column", "column", "outcome_of", "run"]

ARRIVAL, LOADED, ITERATION = 0, 1, 3
"""Between and behind them are the events of a decode pool, see `reference/pools.py`."""

Column = np.ndarray[tuple[int], np.dtype[np.int64]]


class Cluster:
    """All replicas, the router before them, and the events to come."""

    def __init__(self, inputs: SimInputs, *, check: bool = False) -> None:
        workload = inputs.workload
        self.inputs = inputs
        self.check = check
        self.gaps = TokenGapCounter(inputs.token_gaps)
        self.events: list[Event] = []
        self.engines = Engines(inputs, self.gaps, self.events, LOADED, ITERATION)
        self.replicas = self.engines.replicas
        columns = zip(workload.input_tokens, workload.output_tokens, workload.arrival, strict=True)
        self.requests = [
            self.request(number, int(i), int(o), int(t)) for number, (i, o, t) in enumerate(columns)
        ]
        if workload.priority is not None:
            for request, priority in zip(self.requests, workload.priority, strict=True):
                request.priority = int(priority)
        if workload.adapter is not None and inputs.settings.max_loras:
            for request, adapter in zip(self.requests, workload.adapter, strict=True):
                request.adapter = int(adapter)
        self.status = [Status.UNFINISHED] * len(self.requests)
        self.children: dict[int, list[int]] = {}
        if workload.parent is not None:
            for number, parent in enumerate(workload.parent):
                if parent >= 0:
                    self.children.setdefault(int(parent), []).append(number)
        self.events += [
            (request.arrival, ARRIVAL, request.number)
            for request in self.requests
            if request.arrival != NOT_YET
        ]
        heapq.heapify(self.events)
        self.handled = 0

    def request(self, number: int, inputs: int, outputs: int, arrival: int) -> Request:
        """Build what the engines know of a request."""
        return Request(number, inputs, outputs, arrival)

    def run(self) -> None:
        self.snapshots = Snapshots(self.inputs.snapshot_interval, self.replicas)
        while self.events:
            now, kind, number = heapq.heappop(self.events)
            if now > CLOCK_END_PS:
                raise self.inputs.outlasts_clock()
            self.handled += 1
            self.snapshots.take_before(now)
            self.happen(kind, number, now)
            if self.check:
                for replica in self.replicas:
                    replica.check_integrity()
        self.snapshots.finish()

    def happen(self, kind: int, number: int, now: int) -> None:
        if kind == ARRIVAL:
            self._arrive(self.requests[number], now)
        elif kind == LOADED:
            self.engines.loaded(self.requests[number], now)
        else:
            for request in self.engines.iterate(number, now):
                self.finish(request, now)

    def _arrive(self, request: Request, now: int) -> None:
        outputs = int(self.inputs.workload.output_tokens[request.number])
        if self.inputs.fits(request.input_tokens, outputs):
            self.engines.take(request, now)
            return
        self.status[request.number] = Status.REJECTED
        self._release_children(request.number, now)

    def finish(self, request: Request, now: int) -> None:
        """A request has all its tokens."""
        self.status[request.number] = Status.OK
        self._release_children(request.number, now)

    def _release_children(self, number: int, now: int) -> None:
        think_time = self.inputs.workload.think_time
        for child in self.children.get(number, ()):
            think = 0 if think_time is None else int(think_time[child])
            request = self.requests[child]
            request.arrival = now + max(think, 1)
            heapq.heappush(self.events, (request.arrival, ARRIVAL, child))


def run(inputs: SimInputs, *, check: bool = False) -> Outcome:
    """Simulate; with `check`, assert the integrity of every replica after every event."""
    if inputs.decode is not None:
        from servetwin.sim.reference.pools import run_pools

        return run_pools(inputs, check=check)
    if inputs.failures is not None:
        from servetwin.sim.reference.outages import run_failing

        return run_failing(inputs, check=check)
    cluster = Cluster(inputs, check=check)
    cluster.run()
    return outcome_of(cluster)


def column(requests: Sequence[Request], name: str) -> Column:
    """One attribute of all requests."""
    return np.array([getattr(request, name) for request in requests], np.int64)


def outcome_of(cluster: Cluster) -> Outcome:
    """What happened to whom, as columns."""
    inputs, requests, replicas = cluster.inputs, cluster.requests, cluster.replicas
    cached = column(requests, "cached_tokens").astype(np.int32)
    peak, *others = _peaks(cluster.engines)
    return Outcome(
        arrival=column(requests, "arrival"),
        first_scheduled=column(requests, "first_scheduled"),
        first_token=column(requests, "first_token"),
        finish=column(requests, "finish"),
        preemptions=column(requests, "preemptions").astype(np.int32),
        replica=np.array(cluster.engines.home, np.int32),
        status=np.array(cluster.status, np.int8),
        prefill_time=column(requests, "prefill_time"),
        decode_time=column(requests, "decode_time"),
        preempted_time=column(requests, "preempted_time"),
        peak_blocks=peak,
        also_peak_blocks=tuple(others),
        gaps=cluster.gaps.counts,
        snapshots=cluster.snapshots.rows(),
        cached_tokens=None if inputs.prefixes is None else cached,
        kv_transfer=column(requests, "kv_transfer") if inputs.tiers else None,
        tiers=traffic(inputs, cluster.engines),
        stage_busy=stage_busy(cluster.engines),
        prefill_stage_wait=column(requests, "prefill_stage_wait") if inputs.staged else None,
        decode_stage_wait=column(requests, "decode_stage_wait") if inputs.staged else None,
        iterations=sum(replica.iterations for replica in replicas),
        split_chunks=sum(replica.split_chunks for replica in replicas),
        events=cluster.handled,
    )


def _peaks(engines: Engines) -> list[int]:
    """Most blocks in use at once on any one replica of each kind."""
    replicas = iter(engines.replicas)
    return [
        max(next(replicas).pool.peak for _ in range(group.replicas))
        for group in engines.inputs.groups
    ]


def stage_busy(engines: Engines) -> NDArray[np.int64] | None:
    """Work of the stages of each engine; None without stages."""
    rings = [ring.busy for ring in engines.rings if ring]
    return np.array(rings, np.int64) if rings else None


def traffic(inputs: SimInputs, engines: Engines) -> tuple[TierTraffic, ...]:
    """Counts of each tier, summed over the replicas of a pool."""
    pools = (replica.pool for replica in engines.replicas)
    counts = [pool.tiers.traffic() for pool in pools if isinstance(pool, TieredPool)]
    return tuple(
        TierTraffic(limits.name, *map(sum, zip(*(own[number] for own in counts), strict=True)))
        for number, limits in enumerate(inputs.tiers)
    )
