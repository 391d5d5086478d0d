"""With prefix caching, too, the kernel gives the reference's answer to the last digit."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from servetwin.cache import ENGINE_POLICIES
from servetwin.cache.kernel.integrity import check_integrity
from servetwin.sim import kernel
from servetwin.sim.inputs import SimInputs
from servetwin.sim.kernel.allocation import allocate
from servetwin.sim.kernel.cluster import DONE, run_slice
from servetwin.sim.reference.cluster import Cluster, outcome_of
from servetwin.sim.reference.prefix import PrefixPool
from servetwin.types import ROUTERS, SCHEDULERS
from support.cases import Shape, sim_inputs
from support.outcomes import assert_conserved, assert_same

EXAMPLES = {"vllm": 50, "sarathi": 30, "slots": 12, "orca": 12, "static": 12, "single": 12}
"""For each router."""


class Watched(Cluster):
    """The reference, which also counts what the caches went through."""

    def __init__(self, inputs: SimInputs, seen: Counter[str]) -> None:
        super().__init__(inputs, check=True)
        self.seen = seen
        self.shared = False

    def _iterate(self, home: int, now: int) -> None:
        super()._iterate(home, now)
        pool = self.replicas[home].pool
        if isinstance(pool, PrefixPool):
            self.shared |= any(block.refs > 1 for held in pool.held.values() for block in held)

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
        check_integrity(state.pool)
    for r, replica in enumerate(cluster.replicas):
        assert isinstance(replica.pool, PrefixPool)
        cache = replica.pool.cache
        assert np.flatnonzero(state.pool.where[r] >= 0).tolist() == sorted(cache.known)
        assert int(state.pool.cache[r]["evictions"]) == cache.evictions
        assert int(state.replica[r]["free"]) == inputs.capacity_blocks == cache.available


def test_kernel_equals_reference_with_caches(capsys: pytest.CaptureFixture[str]) -> None:
    seen: Counter[str] = Counter()
    combinations: Counter[tuple[str, str]] = Counter()

    def check(inputs: SimInputs) -> None:
        cluster = Watched(inputs, seen)
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
        compare_caches(cluster, inputs)
        if expected.cached_tokens is not None and expected.cached_tokens.any():
            combinations[inputs.settings.scheduler, str(inputs.prefixes.policy)] += 1

    for scheduler in SCHEDULERS:
        for router in ROUTERS:
            shape = Shape(scheduler, router, caching=True)
            examples = settings(max_examples=EXAMPLES[scheduler])
            examples(given(inputs=sim_inputs(shape))(check))()

    with capsys.disabled():
        print(f"\nkernel == reference with prefix caching: {dict(seen)}")
        print(f"of those that hit: {dict(combinations)}")
    assert seen["examples"] >= 400
    for event in ("hitting", "evicting", "with blocks shared at once"):
        assert seen[event] >= 0.2 * seen["examples"], event
    assert seen["preempting"] >= 0.2 * seen["examples"]
    assert all(combinations[s, p] >= 2 for s in SCHEDULERS for p in ENGINE_POLICIES)
