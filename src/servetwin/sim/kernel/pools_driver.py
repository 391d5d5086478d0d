"""Run two pools in the kernel: their state, what they share of it, and one outcome of both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from servetwin.cache.kernel.tiers import traffic
from servetwin.sim.inputs import DecodeInputs, SimInputs
from servetwin.sim.kernel.allocation import allocate
from servetwin.sim.kernel.cluster import DONE, NEEDS_ROWS, OVERRUN, PAUSED
from servetwin.sim.kernel.outages import failures_of
from servetwin.sim.kernel.pools import run_pools_slice
from servetwin.sim.kernel.records import BRIDGE
from servetwin.sim.kernel.snapshot_rows import grown, rows_of
from servetwin.sim.kernel.state import Bridge, State
from servetwin.sim.outcome import Outcome

__all__ = ["allocate_pools", "run_pools"]

SHARED = (
    "world",
    "heap_time",
    "heap_request",
    "gaps",
    "arrival",
    "generated",
    "first_scheduled",
    "first_token",
    "finish",
    "prefill_time",
    "decode_time",
    "preempted_time",
    "preemptions",
    "status",
    "bridge",
)
"""Fields of `State` that are the same arrays in both pools: a request is in one at a time."""

SHARED_OF_STAGES = ("mark", "prefill_wait", "decode_wait")
SHARED_OF_OUTAGES = ("had", "retries", "token", "mark", "prefill_outage", "decode_outage")


def allocate_pools(inputs: SimInputs, decode: DecodeInputs) -> tuple[State, State]:
    """Arrays of both pools in which nothing has happened."""
    workload = inputs.workload
    firsts = replace(workload, output_tokens=np.ones_like(workload.output_tokens))
    prefill = allocate(replace(inputs, workload=firsts))
    prefill = prefill._replace(bridge=_bridge(inputs, decode, prefill))
    shared = {name: getattr(prefill, name) for name in SHARED}
    after = allocate(decode.engine, fetches=True)
    waits = {name: getattr(prefill.stages, name) for name in SHARED_OF_STAGES}
    tolls = {name: getattr(prefill.outages, name) for name in SHARED_OF_OUTAGES}
    shared |= {"stages": after.stages._replace(**waits)}
    return prefill, after._replace(outages=after.outages._replace(**tolls), **shared)


def _bridge(inputs: SimInputs, decode: DecodeInputs, prefill: State) -> Bridge:
    n, link = len(inputs.workload), np.zeros(1, BRIDGE)
    for name in ("block_ps", "latency_ps", "layers"):
        link[name] = getattr(decode.link, name)
    return Bridge(
        link=link,
        outputs=inputs.workload.output_tokens,
        source=prefill.home,
        held=np.zeros(n, np.int32),
        time=np.zeros(n, np.int64),
        request=np.zeros(n, np.int32),
        send_free=np.zeros(inputs.engines, np.int64),
        receive_free=np.zeros(decode.engine.engines, np.int64),
        handover=np.zeros(n, np.int64),
        transfer=np.zeros(n, np.int64),
    )


def run_pools(
    inputs: SimInputs,
    decode: DecodeInputs,
    most_events: int,
    progress: Callable[[int], None] | None = None,
) -> Outcome:
    """Simulate. `progress` is told how many requests have arrived so far."""
    prefill, after = allocate_pools(inputs, decode)
    replicas = inputs.replicas + decode.engine.replicas
    advance = run_pools_slice
    if inputs.failures is not None:
        from servetwin.sim.kernel.failing_pools import run_failing_pools_slice

        advance = run_failing_pools_slice
    while (answer := advance(prefill, after, most_events)) != DONE:
        if answer == OVERRUN:
            raise inputs.outlasts_clock()
        if answer == NEEDS_ROWS:
            prefill, after = grown((prefill, after), inputs.snapshot_interval, replicas)
        if answer == PAUSED and progress is not None:
            progress(int(np.count_nonzero(prefill.home >= 0)))
    tiers = traffic(prefill.caches.tiers, inputs.tiers)
    loaded = (state.loads.transfer for state in (prefill, after) if state.loads.transfer.size)
    bridge = prefill.bridge
    went = after.home >= 0
    return Outcome(
        arrival=prefill.arrival,
        first_scheduled=prefill.first_scheduled,
        first_token=prefill.first_token,
        finish=prefill.finish,
        preemptions=prefill.preemptions,
        replica=np.where(went, after.home + inputs.replicas, prefill.home).astype(np.int32),
        status=prefill.status,
        prefill_time=prefill.prefill_time,
        decode_time=prefill.decode_time,
        preempted_time=prefill.preempted_time,
        peak_blocks=int(prefill.replica["peak"].max()),
        gaps=prefill.gaps,
        snapshots=rows_of((prefill, after), inputs.snapshot_interval, replicas),
        cached_tokens=None if inputs.prefixes is None else prefill.caches.cached,
        kv_transfer=sum(loaded, bridge.transfer),
        tiers=(*tiers, *traffic(after.caches.tiers, decode.engine.tiers)),
        prefill_replica=prefill.home,
        handover=bridge.handover,
        handover_transfer=bridge.transfer,
        decode_peak_blocks=int(after.replica["peak"].max()),
        stage_busy=prefill.stages.busy if inputs.stages else None,
        decode_stage_busy=after.stages.busy if decode.engine.stages else None,
        prefill_stage_wait=prefill.stages.prefill_wait if inputs.staged else None,
        decode_stage_wait=prefill.stages.decode_wait if inputs.staged else None,
        iterations=_total((prefill, after), "iterations"),
        split_chunks=_total((prefill, after), "split_chunks"),
        events=int(prefill.world[0]["events"]),
        **failures_of((prefill, after), inputs),
    )


def _total(states: tuple[State, State], name: str) -> int:
    return sum(int(state.replica[name].sum()) for state in states)
