"""Clusters of one or two pools in which whole engines fail."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from servetwin.sim.failures import LOSSES
from servetwin.sim.inputs import DecodeInputs, SimInputs
from servetwin.sim.outcome import Outcome
from servetwin.sim.reference.cluster import Cluster, column, outcome_of
from servetwin.sim.reference.failing import BACK, DETECTED, FAILED, FailingPool, Toll
from servetwin.sim.reference.pools import PooledCluster, merged

__all__ = ["run_failing", "run_failing_pools"]


class _Failing(Cluster):
    """What both have in common."""

    pools: tuple[FailingPool, ...] = ()
    unfinished: int

    def set_up(self, *pools: FailingPool) -> None:
        self.pools = pools
        self.unfinished = len(self.requests)

    def happen(self, kind: int, number: int, now: int) -> None:
        if kind < FAILED:
            super().happen(kind, number, now)
        else:
            pool = next(pool for pool in reversed(self.pools) if pool.first <= number)
            engine = number - pool.first
            if kind == FAILED and engine not in pool.down:
                pool.fail(engine, now)
            elif kind == DETECTED:
                pool.detect(engine, now)
            elif kind == BACK:
                pool.come_back(engine, now)
        if not self.unfinished:
            self.events.clear()

    def _release_children(self, number: int, now: int) -> None:
        self.unfinished -= 1
        super()._release_children(number, now)


class _FailingCluster(_Failing):
    def __init__(self, inputs: SimInputs, toll: Toll, *, check: bool = False) -> None:
        super().__init__(inputs, check=check)
        self.set_up(FailingPool(self.engines, 0, toll))


class _FailingPools(_Failing, PooledCluster):
    def __init__(
        self, inputs: SimInputs, decode: DecodeInputs, toll: Toll, *, check: bool = False
    ) -> None:
        super().__init__(inputs, decode, check=check)
        prefill = FailingPool(self.engines, 0, toll)
        self.set_up(prefill, FailingPool(self.decode, inputs.engines, toll))
        prefill.void = self._void

    def _void(self, lost: Iterable[int], now: int) -> None:
        """Prefill replicas have lost the blocks that the decode pool was to fetch."""
        for home in lost:
            self.engines.replicas[home].held.clear()
        home_of = self.engines.home
        self.pools[1].forget_prompts(lambda request: home_of[request.number] in lost, now)


def run_failing(inputs: SimInputs, *, check: bool = False) -> Outcome:
    """Simulate a deployment whose engines fail."""
    toll = Toll()
    cluster = _FailingCluster(inputs, toll, check=check)
    cluster.run()
    return _with_toll(outcome_of(cluster), cluster, toll)


def run_failing_pools(inputs: SimInputs, decode: DecodeInputs, *, check: bool = False) -> Outcome:
    """Simulate two pools whose engines fail."""
    toll = Toll()
    cluster = _FailingPools(inputs, decode, toll, check=check)
    cluster.run()
    outcome = _with_toll(outcome_of(cluster), cluster, toll)
    later = list(cluster.decoding.values())
    numbers = column(later, "number")
    assert outcome.retries is not None
    assert outcome.decode_outage is not None
    outcome.retries[numbers] += column(later, "retries").astype(np.int32)
    outcome.decode_outage[numbers] += column(later, "decode_outage")
    return merged(outcome, cluster, decode)


def _with_toll(outcome: Outcome, cluster: Cluster, toll: Toll) -> Outcome:
    return replace(
        outcome,
        outages=np.array(toll.outages, np.int64).reshape(-1, 3),
        losses=np.array([toll.losses[name] for name in LOSSES], np.int64),
        retries=column(cluster.requests, "retries").astype(np.int32),
        prefill_outage=column(cluster.requests, "prefill_outage"),
        decode_outage=column(cluster.requests, "decode_outage"),
    )
