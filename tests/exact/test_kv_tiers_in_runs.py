"""With KV tiers, too, the kernel gives the reference's answer; useless tiers change nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servetwin.cache.kernel import integrity
from servetwin.cache.kernel import tiers as compiled
from servetwin.cache.tiers import LONGEST, TIER_POLICIES, TierLimits
from servetwin.catalog import find_accelerator, find_link, find_model
from servetwin.cost import derive, resolve_settings
from servetwin.sim import kernel, reference, simulate
from servetwin.sim.inputs import SimInputs
from servetwin.sim.kernel.allocation import allocate
from servetwin.sim.kernel.cluster import PAUSED, run_slice
from servetwin.sim.outcome import Outcome
from servetwin.types import (
    ROUTERS,
    SCHEDULERS,
    BlockHashes,
    Deployment,
    KVTier,
    RequestTable,
    Workload,
)
from support.agreement import assert_often, tell
from support.cases import Shape, sim_inputs
from support.outcomes import assert_conserved, assert_same

EXAMPLES = {"vllm": 10, "sarathi": 8, "slots": 5, "orca": 4, "static": 4, "single": 4}
"""For each router."""

TIERS = st.lists(
    st.builds(
        TierLimits,
        name=st.just("tier"),
        blocks=st.integers(1, 40),
        block_ps=st.sampled_from([0, 1, 1, 3, 20]),
        latency_ps=st.sampled_from([0, 2, 30]),
        policy=st.sampled_from(TIER_POLICIES),
    ),
    min_size=1,
    max_size=3,
).map(tuple)


def count(seen: Counter[str], outcome: Outcome) -> None:
    assert outcome.kv_transfer is not None
    seen["examples"] += 1
    seen["runs that load"] += bool(outcome.kv_transfer.any())
    seen["loads"] += int(np.count_nonzero(outcome.kv_transfer))
    seen["blocks loaded"] += sum(tier.loaded for tier in outcome.tiers)
    seen["recomputed by choice"] += sum(tier.declined for tier in outcome.tiers)
    seen["written"] += sum(tier.written for tier in outcome.tiers)
    seen["clean"] += sum(tier.clean for tier in outcome.tiers)
    seen["cascaded"] += sum(tier.written + tier.clean for tier in outcome.tiers[1:])
    seen["runs that preempt"] += bool(outcome.preemptions.any())


def test_kernel_equals_reference_with_tiers(capsys: pytest.CaptureFixture[str]) -> None:
    seen: Counter[str] = Counter()

    def check(inputs: SimInputs, tiers: tuple[TierLimits, ...]) -> None:
        if inputs.prefixes is None:
            return
        inputs = replace(inputs, tiers=tiers)
        expected = reference.run(inputs, check=True)
        found = kernel.run(inputs)
        assert_same(expected, found)
        assert_conserved(inputs, found)
        count(seen, found)

    for scheduler in SCHEDULERS:
        for router in ROUTERS:
            shape = Shape(scheduler, router, caching=True)
            examples = settings(max_examples=EXAMPLES[scheduler])
            examples(given(sim_inputs(shape), TIERS)(check))()

    tell(capsys, "kernel == reference with KV tiers", seen)
    assert seen["examples"] >= 150
    assert_often(seen, 0.25, "runs that load")
    for what in ("loads", "recomputed by choice", "clean", "runs that preempt"):
        assert seen[what] >= 30, what
    for what in ("blocks loaded", "cascaded"):
        assert seen[what] >= 300, what


@pytest.mark.parametrize("scheduler", ["vllm", "orca", "static"])
def test_the_kernels_tiers_are_sound_after_every_event(scheduler: str) -> None:
    shape = Shape(scheduler, "cache-aware", caching=True)

    @settings(max_examples=15)
    @given(sim_inputs(shape), TIERS)
    def check(inputs: SimInputs, tiers: tuple[TierLimits, ...]) -> None:
        if inputs.prefixes is None:
            return
        state = allocate(replace(inputs, tiers=tiers, snapshot_interval=0))
        caches = state.caches
        while run_slice(state, 1) == PAUSED:
            integrity.check_integrity(caches.pool)
            compiled.check_integrity(caches.tiers)
            nearest = caches.tiers.tier[:, 0]
            assert np.all(caches.pool.cache["evictions"] == nearest["written"] + nearest["clean"])
        assert np.all(caches.pool.cache["available"] == caches.pool.cache["capacity"])
        assert state.gate[0]["loads"] == 0
        assert not state.replica["loading"].any()

    check()


@settings(max_examples=60)
@given(
    st.sampled_from(SCHEDULERS).flatmap(
        lambda scheduler: sim_inputs(Shape(scheduler, "cache-aware", caching=True))
    )
)
def test_a_tier_whose_writes_never_end_changes_nothing(inputs: SimInputs) -> None:
    never = (TierLimits("never", 1000, LONGEST, LONGEST),)
    if inputs.prefixes is None:
        return
    without = kernel.run(inputs)
    found = kernel.run(replace(inputs, tiers=never))
    assert found.kv_transfer is not None
    assert not found.kv_transfer.any()
    assert (without.kv_transfer, without.tiers) == (None, ())
    assert_same(without, replace(found, kv_transfer=None, tiers=()))


def shared_prefixes(requests: int) -> Workload:
    """Requests that begin like one of twenty earlier ones."""
    rng = np.random.default_rng(5)
    family = rng.integers(0, 20, requests)
    ids = np.concatenate([np.arange(200 * f, 200 * f + 200) for f in family])
    return Workload(
        arrival=np.sort(rng.integers(0, 20 * requests, requests)) * 10**9,
        input_tokens=np.full(requests, 200 * 16 + 5, np.int32),
        output_tokens=np.full(requests, 20, np.int32),
        block_hashes=BlockHashes(np.arange(requests + 1) * 200, ids, 16),
    )


def run_with(*tiers: KVTier) -> tuple[RequestTable, list[dict[str, object]] | None]:
    model, gpu = find_model("Llama-3.1-8B"), find_accelerator("A100-80GB")
    engine = resolve_settings(model, gpu, num_gpu_blocks_override=1000, max_model_len=4096)
    target = Deployment(model, gpu, find_link(gpu.link), settings=replace(engine, kv_tiers=tiers))
    run = simulate(target, shared_prefixes(300), derive(target, 3000))
    return run.requests, run.kv_tiers


def assert_same_requests(left: RequestTable, right: RequestTable) -> None:
    for field in fields(RequestTable):
        one, other = getattr(left, field.name), getattr(right, field.name)
        np.testing.assert_array_equal(one, other, err_msg=field.name)


def test_a_tier_of_zero_bandwidth_or_capacity_is_no_tier() -> None:
    host = KVTier("host", 64 * 10**9, 25e9, 1e-5)
    nothing = KVTier("ssd", 10**12, 0.0), KVTier("remote", 0, 1e9), KVTier("tiny", 10, 1e9)
    plain, stated = run_with()
    none, none_stated = run_with(*nothing)
    assert stated is none_stated is None
    assert_same_requests(plain, none)
    alone, alone_stated = run_with(host)
    mixed, mixed_stated = run_with(nothing[0], host, *nothing[1:])
    assert alone_stated == mixed_stated
    assert_same_requests(alone, mixed)
    assert alone.kv_transfer is not None
    assert alone.kv_transfer.any()
    assert alone.cached_tokens is not None
    assert plain.cached_tokens is not None
    assert alone.cached_tokens.sum() > 2 * plain.cached_tokens.sum()
    assert (alone.first_token - alone.arrival).mean() < (plain.first_token - plain.arrival).mean()
