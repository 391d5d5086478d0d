"""With prefix caching, too, the kernel gives the reference's answer to the last digit."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servetwin.cache import ENGINE_POLICIES, PolicyOptions, replay
from servetwin.cache.kernel.integrity import check_integrity
from servetwin.catalog import find_accelerator, find_link, find_model
from servetwin.cost import derive, resolve_settings
from servetwin.sim import kernel
from servetwin.sim.inputs import SimInputs, prepare
from servetwin.sim.kernel.allocation import allocate
from servetwin.sim.kernel.cluster import DONE, run_slice
from servetwin.sim.prefixes import find_prefixes
from servetwin.sim.reference.cluster import ITERATION, Cluster, outcome_of
from servetwin.sim.reference.prefix import PrefixPool
from servetwin.types import (
    ROUTERS,
    SCHEDULERS,
    BlockHashes,
    CostModel,
    Deployment,
    EngineSettings,
    Workload,
)
from servetwin.units import NOT_YET
from servetwin.workload import read
from support.blocks import chained_requests, trace_of
from support.cases import Shape, sim_inputs, try_examples
from support.outcomes import assert_conserved, assert_same

EXAMPLES = {"vllm": 25, "sarathi": 15, "slots": 6, "orca": 6, "static": 6, "single": 6}
"""For each router and each of two policies, which take turns."""


class Watched(Cluster):
    """The reference, which also counts what the caches went through."""

    def __init__(self, inputs: SimInputs, seen: Counter[str], *, check: bool) -> None:
        super().__init__(inputs, check=check)
        self.seen = seen
        self.shared = False

    def happen(self, kind: int, number: int, now: int) -> None:
        super().happen(kind, number, now)
        if kind != ITERATION:
            return
        pool = self.replicas[number].pool
        if isinstance(pool, PrefixPool) and not self.shared:
            self.shared = any(block.refs > 1 for held in pool.held.values() for block in held)

    def count(self) -> None:
        pools = [replica.pool for replica in self.replicas]
        self.seen["with blocks shared at once"] += self.shared
        self.seen["evicting"] += any(
            isinstance(pool, PrefixPool) and pool.cache.evictions > 0 for pool in pools
        )


def compare_caches(cluster: Cluster, inputs: SimInputs) -> None:
    """Run the kernel in pieces, check its blocks in between, and see what is left in the end."""
    if inputs.prefixes is None:
        return
    state = allocate(replace(inputs, snapshot_interval=0))
    while run_slice(state, 101) != DONE:
        check_integrity(state.caches.pool)
    for r, replica in enumerate(cluster.replicas):
        assert isinstance(replica.pool, PrefixPool)
        cache = replica.pool.cache
        assert np.flatnonzero(state.caches.pool.where[r] >= 0).tolist() == sorted(cache.known)
        assert int(state.caches.pool.cache[r]["evictions"]) == cache.evictions
        assert int(state.replica[r]["free"]) == inputs.capacity_blocks == cache.available


def test_kernel_equals_reference_with_caches(capsys: pytest.CaptureFixture[str]) -> None:
    seen: Counter[str] = Counter()
    combinations: Counter[tuple[str, str]] = Counter()

    def check(inputs: SimInputs) -> None:
        every_third = seen["examples"] % 3 == 0  # looking inside takes most of the time
        cluster = Watched(inputs, seen, check=every_third)
        cluster.run()
        expected = outcome_of(cluster)
        found = kernel.run(inputs)
        assert_same(expected, found)
        assert_conserved(inputs, found)
        cluster.count()
        seen["examples"] += 1
        seen["hitting"] += expected.cached_tokens is not None and bool(expected.cached_tokens.any())
        seen["preempting"] += bool(expected.preemptions.any())
        seen["splitting a prompt"] += bool(expected.split_chunks)
        seen["async"] += inputs.lag
        seen["session scope"] += inputs.workload.block_hashes.scope == "session"
        if every_third:
            compare_caches(cluster, inputs)
        if expected.cached_tokens is not None and expected.cached_tokens.any():
            combinations[inputs.settings.scheduler, str(inputs.prefixes.policy)] += 1

    for number, (scheduler, router) in enumerate(product(SCHEDULERS, ROUTERS)):
        for turn in range(2):
            policy = ENGINE_POLICIES[(2 * number + turn) % 5]
            shape = Shape(scheduler, router, caching=True, policy=policy)
            try_examples(check, sim_inputs(shape), EXAMPLES[scheduler], 2 * number + turn)

    with capsys.disabled():
        print(f"\nkernel == reference with prefix caching: {dict(seen)}")
        print(f"of those that hit: {dict(combinations)}")
    assert seen["examples"] >= 400
    for event in ("hitting", "evicting", "with blocks shared at once"):
        assert seen[event] >= 0.2 * seen["examples"], event
    assert seen["preempting"] >= 0.2 * seen["examples"]
    assert all(combinations[s, p] for s in SCHEDULERS for p in ENGINE_POLICIES)


@cache
def deployment() -> tuple[Deployment, CostModel]:
    model, gpu = find_model("Llama-3.1-8B"), find_accelerator("H100-SXM")
    target = Deployment(model, gpu, find_link(gpu.link), settings=resolve_settings(model, gpu))
    return target, derive(target, 1000)


def in_turn(requests: list[list[int]], capacity: int, policy: str) -> SimInputs:
    """One request at a time: each comes when the one before has gone. A token behind all blocks."""
    n = len(requests)
    counts = [len(request) for request in requests]
    workload = Workload(
        np.array([0] + [NOT_YET] * (n - 1), np.int64),
        np.array([16 * count + 1 for count in counts], np.int32),
        np.ones(n, np.int32),
        parent=np.arange(-1, n - 1, dtype=np.int32),
        think_time=np.full(n, 10**9, np.int64),
        block_hashes=BlockHashes(
            np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            np.array([id for request in requests for id in request], np.int64),
            16,
        ),
    )
    engine = EngineSettings(prefix_caching_policy=policy, max_model_len=10_000)
    target = replace(deployment()[0], settings=engine)
    options = PolicyOptions(alpha=0.0)  # its weight depends on the capacity
    prefixes = find_prefixes(workload, engine, options=options)
    inputs = prepare(target, workload, deployment()[1], prefixes=prefixes)
    return replace(inputs, capacity_blocks=capacity)


@pytest.mark.parametrize("policy", ["vllm-lru", "lfu", "flop-aware"])
@settings(max_examples=25)
@given(requests=chained_requests(most=60), share=st.sampled_from([0.2, 0.4, 0.8]))
def test_requests_in_turn_hit_as_in_a_replay(
    policy: str, requests: list[list[int]], share: float
) -> None:
    """The token behind the blocks of a request takes a block, which no replay knows.

    In vLLM's queue it is one that is never asked for again; the other policies reuse it, so
    that it takes one place for good. (FIFO and S3-FIFO keep blocks behind gaps, which a replay
    takes along and an engine does not.)
    """
    trace = trace_of(requests)
    capacity = max(trace.longest + 1, int(share * trace.distinct))
    found = kernel.run(in_turn(requests, capacity, policy))
    if not trace.references:
        return
    if policy == "vllm-lru":
        ends = [[*path, trace.distinct + i] for i, path in enumerate(requests)]
        expected = replay(trace_of(ends), capacity, policy)
    else:
        expected = replay(trace, capacity - 1, policy, options=PolicyOptions(alpha=0.0))
    assert found.cached_tokens is not None
    assert (found.cached_tokens // 16).tolist() == expected.hit_blocks.tolist()


@pytest.mark.parametrize("block_size", [16, 512])
def test_an_engine_that_forgets_nothing_hits_what_the_study_counts(
    data_dir: Path, block_size: int
) -> None:
    """First come, first served by one replica: all that came before is cached."""
    workload = read(data_dir / "traces" / "mooncake" / "conversation_trace.jsonl")
    target, cost = deployment()
    engine = replace(target.settings, block_size=block_size, max_model_len=10**6)
    prefixes = find_prefixes(workload, engine)
    assert prefixes is not None
    inputs = prepare(replace(target, settings=engine), workload, cost, prefixes=prefixes)
    found = kernel.run(replace(inputs, capacity_blocks=10**7))
    assert found.cached_tokens is not None
    study = replay(workload, None, "vllm-lru", None if block_size == 512 else block_size)
    one_token_left = (workload.input_tokens - 1) // block_size
    expected = np.minimum(study.hit_blocks, one_token_left)
    np.testing.assert_array_equal(found.cached_tokens // block_size, expected)
    assert study.hits - expected.sum() < 0.02 * study.hits


@pytest.mark.parametrize("scheduler", ["vllm", "orca", "slots"])
def test_names_that_nobody_shares_change_nothing(scheduler: str) -> None:
    """Where nobody is preempted, who could hit the own blocks."""
    compared = 0

    def check(inputs: SimInputs) -> None:
        nonlocal compared
        hashes = inputs.workload.block_hashes
        assert hashes is not None
        own = replace(hashes, ids=np.arange(hashes.ids.size))
        workload = replace(inputs.workload, block_hashes=own)
        prefixes = find_prefixes(workload, inputs.settings)
        without = kernel.run(replace(inputs, prefixes=None))
        if prefixes is None or without.preemptions.any():
            return
        compared += 1
        found = kernel.run(replace(inputs, workload=workload, prefixes=prefixes))
        assert found.cached_tokens is not None
        assert not found.cached_tokens.any()
        assert_same(without, replace(found, cached_tokens=None))

    for number in range(4):  # one stream of examples may be crowded throughout
        shape = Shape(scheduler, "least-outstanding", caching=True)
        try_examples(check, sim_inputs(shape), 20, number)
    assert compared >= 8
