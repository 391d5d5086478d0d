"""A prefill pool and a decode pool (section 9 of `docs/background/semantics.md`).

A request is two: one of a single output token in the prefill pool, and one in the decode pool
whose first token is there, and whose prompt has KV that must be fetched.
"""

from __future__ import annotations

import heapq
from dataclasses import replace
from functools import partial

import numpy as np

from servetwin.sim.inputs import DecodeInputs, SimInputs
from servetwin.sim.outcome import Outcome
from servetwin.sim.reference.cluster import Cluster, column, outcome_of, stage_busy, traffic
from servetwin.sim.reference.engines import Engines
from servetwin.sim.reference.state import Request
from servetwin.units import NOT_YET

__all__ = ["PooledCluster", "merged", "run_pools"]

FETCHED, HANDOVER, DECODE_ITERATION = 2, 4, 5
"""Ends of transfers and loads in the decode pool come before iterations of the prefill pool
end, for which they free blocks; then hand-overs, then iterations of the decode pool."""


class PooledCluster(Cluster):
    """Two pools of engines, and the links between them."""

    def __init__(self, inputs: SimInputs, decode: DecodeInputs, *, check: bool = False) -> None:
        super().__init__(inputs, check=check)
        self.link = decode.link
        self.decode = Engines(decode.engine, self.gaps, self.events, FETCHED, DECODE_ITERATION)
        for home, replica in enumerate(self.decode.replicas):
            replica.queues.fetch = partial(self._fetch, home)
        self.replicas = [*self.engines.replicas, *self.decode.replicas]
        self.send_free = [0] * inputs.engines
        self.receive_free = [0] * decode.engine.engines
        self.decoding: dict[int, Request] = {}

    def request(self, number: int, inputs: int, outputs: int, arrival: int) -> Request:
        return Request(number, inputs, 1, arrival, hands_over=outputs > 1)

    def happen(self, kind: int, number: int, now: int) -> None:
        if kind == HANDOVER:
            self.decode.take(self.decoding[number], now)
        elif kind == FETCHED:
            self._fetched(number, now)
        elif kind == DECODE_ITERATION:
            for request in self.decode.iterate(number, now):
                self.finish(request, now)
        else:
            super().happen(kind, number, now)

    def finish(self, request: Request, now: int) -> None:
        if not request.hands_over:
            super().finish(request, now)
            return
        outputs = int(self.inputs.workload.output_tokens[request.number])
        self.decoding[request.number] = Request(
            request.number,
            request.input_tokens,
            outputs,
            now,
            request.priority,
            generated=1,
            remote=True,
            first_scheduled=request.first_scheduled,
            first_token=now,
            last_token=now,
        )
        heapq.heappush(self.events, (now, HANDOVER, request.number))

    def _fetch(self, home: int, request: Request, tokens: int) -> int:
        """Take blocks for `tokens`, of which those come that the decode replica has not cached."""
        replica, source = self.decode.replicas[home], self.engines.home[request.number]
        pool, now = replica.pool, replica.now
        pool.begin(request)
        missing = pool.blocks_for(request.input_tokens) - request.blocks
        pool.grow(request, tokens)
        request.computed = request.input_tokens
        # The lanes of an engine share its link.
        sender, receiver = source % len(self.send_free), home % len(self.receive_free)
        begin = max(now, self.send_free[sender], self.receive_free[receiver])
        prompt = self.requests[request.number]
        computed = prompt.prefill_time + prompt.prefill_stage_wait
        end = begin + self.link.duration(missing, computed)
        self.send_free[sender] = self.receive_free[receiver] = end
        request.handover_transfer = end - now
        return end

    def _fetched(self, number: int, now: int) -> None:
        """The blocks of a request have come: from its prefill replica, or from a tier."""
        request = self.decoding[number]
        if request.remote:
            source = self.engines.home[number]
            self.engines.replicas[source].let_go(self.requests[number])
            self.engines.rouse(source, now)
        self.decode.loaded(request, now)


def run_pools(inputs: SimInputs, *, check: bool = False) -> Outcome:
    """Simulate a deployment with a decode pool."""
    assert inputs.decode is not None
    if inputs.failures is not None:
        from servetwin.sim.reference.outages import run_failing_pools

        return run_failing_pools(inputs, inputs.decode, check=check)
    cluster = PooledCluster(inputs, inputs.decode, check=check)
    cluster.run()
    return merged(outcome_of(cluster), cluster, inputs.decode)


def merged(prefill: Outcome, cluster: PooledCluster, decode: DecodeInputs) -> Outcome:
    """Replace what the decode pool has changed."""
    nobody = Request(-1, 0, 0, 0)
    requests = [cluster.decoding.get(request.number, nobody) for request in cluster.requests]
    homes = np.array(cluster.decode.home, np.int32)
    went = homes >= 0
    transfer = column(requests, "handover_transfer")
    joined = column(requests, "joined")
    loaded = column(cluster.requests, "kv_transfer") + column(requests, "kv_transfer")
    return replace(
        prefill,
        finish=np.where(went, column(requests, "finish"), prefill.finish),
        preemptions=prefill.preemptions + column(requests, "preemptions").astype(np.int32),
        replica=np.where(went, homes + cluster.inputs.replicas, prefill.replica).astype(np.int32),
        decode_time=prefill.decode_time + column(requests, "decode_time"),
        preempted_time=prefill.preempted_time + column(requests, "preempted_time"),
        kv_transfer=loaded + transfer,
        tiers=(*prefill.tiers, *traffic(decode.engine, cluster.decode)),
        prefill_replica=prefill.replica,
        handover=np.where(joined == NOT_YET, 0, joined - prefill.first_token),
        handover_transfer=transfer,
        decode_peak_blocks=max(replica.pool.peak for replica in cluster.decode.replicas),
        decode_stage_busy=stage_busy(cluster.decode),
        decode_stage_wait=column(requests, "decode_stage_wait") if cluster.inputs.staged else None,
    )
