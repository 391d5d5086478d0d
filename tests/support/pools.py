"""Random deployments with a prefill pool and a decode pool."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import strategies as st

from servetwin.cache.tiers import TIER_POLICIES, TierLimits
from servetwin.sim.inputs import DecodeInputs, SimInputs
from servetwin.sim.outcome import Outcome
from servetwin.sim.pools import TransferLink
from servetwin.sim.prefixes import find_prefixes
from servetwin.sim.reference.replica import Replica
from servetwin.sim.reference.state import Batch
from servetwin.types import EngineSettings, Status
from support.cases import MOST_SEATS, POLICY_OPTIONS, Shape, iteration_costs, sim_inputs
from support.outcomes import assert_parts

__all__ = ["Pair", "assert_pools_conserve", "counted_back_pressure", "pooled_inputs"]

LINKS = st.builds(
    TransferLink,
    block_ps=st.sampled_from([0, 1, 5, 60, 300]),
    latency_ps=st.sampled_from([0, 2, 30]),
    layers=st.sampled_from([0, 0, 1, 4]),
)

TIERS = st.lists(
    st.builds(
        TierLimits,
        name=st.just("tier"),
        blocks=st.integers(1, 40),
        block_ps=st.sampled_from([0, 1, 3]),
        latency_ps=st.sampled_from([0, 2]),
        policy=st.sampled_from(TIER_POLICIES),
    ),
    min_size=1,
    max_size=2,
).map(tuple)


@dataclass(frozen=True)
class Pair:
    """Schedulers and routers of both pools; with `caching`, each may cache, and have tiers."""

    prefill: Shape
    decode: Shape
    caching: bool = False


@st.composite
def pooled_inputs(draw: st.DrawFn, pair: Pair) -> SimInputs:
    """Pools that are tight: prompts wait for blocks that are held, decodes get preempted."""
    inputs = draw(sim_inputs(replace(pair.prefill, caching=pair.caching)))
    load, size = inputs.workload, inputs.settings.block_size
    prompts = -(-load.input_tokens.astype(np.int64) // size)
    most = int(prompts.max())
    if pair.prefill.scheduler == "slots":
        seats = inputs.settings.max_num_seqs
        inputs = replace(inputs, capacity_blocks=most * seats, max_total_tokens=most * size)
    else:
        spare = draw(st.integers(0, 2 * int(np.median(prompts)) + 1))
        inputs = replace(inputs, capacity_blocks=max(1, most - (spare % 7 == 0)) + spare)
    decode = draw(_decode_pool(inputs, pair))
    if not (pair.caching and draw(st.booleans())):
        settings = replace(inputs.settings, enable_prefix_caching=False)
        inputs = replace(inputs, settings=settings, prefixes=None)
    if inputs.prefixes is not None:
        inputs = replace(inputs, tiers=draw(st.just(()) | TIERS))
    interval = inputs.snapshot_interval
    if decode.cost.linear[1] >= 1000 > inputs.cost.linear[1]:
        interval *= 1000
    inputs = replace(inputs, snapshot_interval=interval)
    decode = replace(decode, snapshot_interval=interval)
    return replace(inputs, decode=DecodeInputs(decode, draw(LINKS)))


@st.composite
def _decode_pool(draw: st.DrawFn, prefill: SimInputs, pair: Pair) -> SimInputs:
    scheduler, load = pair.decode.scheduler, prefill.workload
    seats = draw(st.integers(1, MOST_SEATS))
    least = seats if scheduler == "vllm" else 1
    settings = EngineSettings(
        scheduler=scheduler,
        max_num_batched_tokens=draw(st.integers(least, least + 40)),
        max_num_seqs=seats,
        max_model_len=1_000_000,
        block_size=prefill.settings.block_size,
        async_scheduling=draw(st.booleans()),
        enable_prefix_caching=pair.caching and draw(st.booleans()),
        prefix_caching_policy=prefill.settings.prefix_caching_policy,
    )
    total = load.input_tokens.astype(np.int64) + load.output_tokens - 1
    needs = -(-total // settings.block_size)
    most, limit = int(needs.max()), 1_000_000
    capacity = max(1, most - draw(st.sampled_from([0, 0, 1]))) + draw(
        st.integers(0, int(np.median(needs)) + 1)
    )
    if scheduler == "slots":
        capacity, limit = most * seats, most * settings.block_size
    prefixes = find_prefixes(load, settings, options=draw(POLICY_OPTIONS))
    return SimInputs(
        workload=load,
        settings=settings,
        cost=draw(iteration_costs()),
        capacity_blocks=capacity,
        max_total_tokens=limit,
        replicas=draw(st.integers(1, 3)),
        router=pair.decode.router,
        seed=prefill.seed ^ 1,
        snapshot_interval=0,
        token_gaps=prefill.token_gaps,
        prefixes=prefixes,
        tiers=draw(st.just(()) | TIERS) if prefixes is not None else (),
    )


@contextmanager
def counted_back_pressure(seen: Counter[str]) -> Iterator[None]:
    """Count, under "held up", plans that admit nobody since blocks wait for the decode pool."""
    plan = Replica._plan

    def counting(replica: Replica, now: int) -> Batch:
        batch = plan(replica, now)
        queues = replica.queues
        if replica.held and queues.waiting and len(queues.running) < queues.width:
            head = queues.waiting[0]
            needs = replica.pool.needs(head, head.known_tokens)
            held = sum(request.blocks for request in replica.held)
            seen["held up"] += replica.pool.free < needs <= replica.pool.free + held
        return batch

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Replica, "_plan", counting)
        yield


def assert_pools_conserve(inputs: SimInputs, outcome: Outcome) -> None:
    """Every request finishes or is rejected, in the right pool; no block is left anywhere."""
    decode = inputs.decode
    assert decode is not None
    assert outcome.prefill_replica is not None
    assert outcome.handover is not None
    assert outcome.handover_transfer is not None
    ok = outcome.status == Status.OK
    assert np.all(ok | (outcome.status == Status.REJECTED))
    assert np.all(outcome.replica[~ok] == -1)
    assert np.all(outcome.prefill_replica[~ok] == -1)
    went = ok & (inputs.workload.output_tokens > 1)
    assert np.all(outcome.replica[went] >= inputs.replicas)
    assert np.all(outcome.replica[went] < inputs.replicas + decode.engine.replicas)
    assert np.all(outcome.replica[ok & ~went] == outcome.prefill_replica[ok & ~went])
    assert np.all(outcome.handover[went] >= outcome.handover_transfer[went])
    fetched = went if outcome.retries is None else went & (outcome.handover > 0)
    assert np.all(fetched | ~went | (outcome.retries != 0))
    assert np.all(outcome.handover_transfer[fetched] >= 1)
    assert np.all(outcome.handover[~went] == 0)
    assert np.all(outcome.first_token[went] + outcome.handover[went] < outcome.finish[went])
    assert_parts(outcome)
    if inputs.token_gaps:
        assert outcome.gaps.sum() == int((inputs.workload.output_tokens[ok] - 1).sum())
    rows = outcome.snapshots
    if rows is not None and rows.running.size:
        for column in (rows.running, rows.waiting, rows.kv_blocks):
            assert not column[-1].any()
        assert rows.kv_blocks[:, : inputs.replicas].max() <= inputs.capacity_blocks
        assert rows.kv_blocks[:, inputs.replicas :].max() <= decode.engine.capacity_blocks
