"""Prefix caching worked out by hand. An iteration lasts 100 ps and 1 ps a token; blocks of 10."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from servetwin.cache import BlockTrace
from servetwin.cache.reference import Fifo
from servetwin.errors import InputError
from servetwin.sim import SimOptions, reference
from servetwin.sim.inputs import SimInputs
from servetwin.sim.outcome import Outcome
from servetwin.sim.prefixes import Prefixes, find_prefixes
from servetwin.sim.reference.prefix import PrefixPool
from servetwin.types import BlockHashes, EngineSettings, Workload
from support.hand import BY_TOKEN, Run

Row = tuple[int, int, int, list[int]]
"""Arrival, input and output tokens, and the names of the input's blocks."""


def load(rows: list[Row], block_tokens: int = 10) -> Workload:
    counts = [len(row[3]) for row in rows]
    ids = [name for row in rows for name in row[3]]
    return Workload(
        np.array([row[0] for row in rows], np.int64),
        np.array([row[1] for row in rows], np.int32),
        np.array([row[2] for row in rows], np.int32),
        block_hashes=BlockHashes(
            np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            np.array(ids, np.int64),
            block_tokens,
        ),
    )


def inputs(rows: list[Row], **changes: Any) -> SimInputs:
    workload = load(rows)
    values: dict[str, Any] = {
        "scheduler": "vllm",
        "max_num_batched_tokens": 100,
        "max_num_seqs": 4,
        "max_model_len": 10_000,
        "block_size": 10,
        "async_scheduling": False,
    }
    level = {"capacity_blocks": 100, "replicas": 1, "router": "round-robin"}
    for name, value in changes.items():
        (level if name in level else values)[name] = value
    settings = EngineSettings(**values)
    return SimInputs(
        workload=workload,
        settings=settings,
        cost=BY_TOKEN,
        max_total_tokens=10_000,
        seed=0,
        snapshot_interval=0,
        token_gaps=True,
        prefixes=find_prefixes(workload, settings),
        **level,
    )


def cached(outcome: Outcome) -> list[int]:
    assert outcome.cached_tokens is not None
    return [int(tokens) for tokens in outcome.cached_tokens]


def test_a_hit_leaves_one_token_to_compute(run: Run) -> None:
    """Request 1 finds both blocks, takes one, and computes ten tokens; request 2 computes one."""
    outcome = run(
        inputs([(0, 20, 1, [0, 1]), (1000, 20, 1, [0, 1]), (2000, 21, 1, [0, 1])]),
    )
    assert cached(outcome) == [0, 10, 20]
    assert outcome.finish.tolist() == [120, 1110, 2101]


def test_the_hit_ends_at_the_first_block_that_is_not_cached(run: Run) -> None:
    outcome = run(inputs([(0, 35, 1, [0, 1, 2]), (1000, 35, 1, [0, 5, 2]), (2000, 35, 1, [])]))
    assert cached(outcome) == [0, 10, 0]


def test_a_request_of_the_same_plan_hits(run: Run) -> None:
    """25 and 5 tokens in one iteration; two blocks are shared, one each is not."""
    outcome = run(inputs([(0, 25, 1, [0, 1]), (0, 25, 1, [0, 1])]))
    assert cached(outcome) == [0, 20]
    assert outcome.finish.tolist() == [130, 130]
    assert outcome.peak_blocks == 4


def test_a_chunk_can_be_found_before_its_prompt_is_done(run: Run) -> None:
    """The budget splits request 0 after 10 tokens; request 1 comes in the plan with the rest."""
    outcome = run(
        inputs([(0, 15, 1, [0]), (0, 15, 1, [0])], max_num_batched_tokens=10, max_num_seqs=2)
    )
    assert cached(outcome) == [0, 10]
    assert outcome.finish.tolist() == [220, 220]


def test_a_preempted_request_hits_its_own_blocks(run: Run) -> None:
    """At 240 both need a third block and one is left. Request 1 comes back behind ten tokens.

    What counts as cached is what the first admission found.
    """
    rows: list[Row] = [(0, 19, 4, [0]), (0, 19, 3, [1])]
    outcome = run(inputs(rows, capacity_blocks=5))
    assert outcome.preemptions.tolist() == [0, 1]
    assert cached(outcome) == [0, 0]
    assert outcome.finish.tolist() == [442, 553]
    without = run(replace(inputs(rows, capacity_blocks=5), prefixes=None))
    assert without.finish.tolist() == [442, 563]


def test_a_duplicate_stays_anonymous(run: Run) -> None:
    """Requests 0 and 1 each compute the second block. Request 2 evicts the one with a name.

    The other copy is still there, but request 3 cannot find it.
    """
    rows: list[Row] = [
        (0, 20, 1, [0, 1]),
        (0, 20, 1, [0, 1]),
        (1000, 10, 1, [7]),
        (2000, 21, 1, [0, 1]),
    ]
    outcome = run(inputs(rows, capacity_blocks=3))
    assert outcome.peak_blocks == 3
    assert cached(outcome) == [0, 10, 0, 10]


def test_the_end_of_a_prefix_is_evicted_before_its_beginning(run: Run) -> None:
    rows: list[Row] = [
        (0, 30, 1, [0, 1, 2]),
        (1000, 11, 1, [7]),
        (2000, 31, 1, [0, 1, 2]),
    ]
    outcome = run(inputs(rows, capacity_blocks=4))
    assert cached(outcome) == [0, 0, 20]


def test_blocks_that_wait_in_the_cache_count_when_they_are_taken(run: Run) -> None:
    """Request 2 needs all five blocks, of which request 1 has two until it ends."""
    rows: list[Row] = [(0, 20, 1, [0, 1]), (200, 11, 5, []), (300, 41, 1, [0, 1, 2, 3])]
    outcome = run(inputs(rows, capacity_blocks=5))
    assert outcome.first_scheduled[2] == outcome.finish[1]
    assert cached(outcome) == [0, 0, 20]


@pytest.mark.parametrize("scheduler", ["sarathi", "orca", "static", "single", "slots"])
def test_every_scheduler_hits(run: Run, scheduler: str) -> None:
    rows: list[Row] = [(0, 25, 1, [0, 1]), (1000, 25, 1, [0, 1])]
    outcome = run(inputs(rows, scheduler=scheduler, max_num_seqs=2))
    assert cached(outcome) == [0, 20]
    assert outcome.finish.tolist() == [125, 1105]


def test_a_cache_aware_router_sends_a_prefix_where_it_lies(run: Run) -> None:
    rows: list[Row] = [
        (0, 45, 1, [0, 1, 2, 3]),
        (0, 45, 1, [10, 11, 12, 13]),
        (1000, 45, 1, [10, 11, 12, 13]),
        (2000, 45, 1, [0, 1, 2, 3]),
        (3000, 45, 9, [0, 1, 2, 3]),
        (3001, 45, 1, [0, 1, 2, 3]),  # 45 + 5 tokens there, 45 here
    ]
    outcome = run(inputs(rows, replicas=2, router="cache-aware"))
    assert outcome.replica.tolist() == [0, 1, 1, 0, 0, 1]
    assert cached(outcome) == [0, 0, 40, 40, 40, 0]
    without = run(replace(inputs(rows, replicas=2, router="cache-aware"), prefixes=None))
    least = run(replace(inputs(rows, replicas=2, router="least-tokens"), prefixes=None))
    assert without.replica.tolist() == least.replica.tolist()


def test_other_block_sizes_and_sessions(run: Run) -> None:
    """Blocks of 20 are two of 10 each, or one of 40 for two; ids of other sessions are others."""
    workload = load([(0, 45, 1, [0, 1, 2]), (1000, 45, 1, [0, 1, 2])], block_tokens=20)
    base = inputs([(0, 45, 1, []), (1000, 45, 1, [])])
    for size, hits in ((10, 40), (20, 40), (40, 40), (60, None)):
        settings = replace(base.settings, block_size=size)
        found = find_prefixes(workload, settings)
        outcome = run(replace(base, workload=workload, settings=settings, prefixes=found))
        assert (outcome.cached_tokens is None) == (hits is None)
        assert hits is None or cached(outcome) == [0, hits]
    with pytest.raises(InputError, match="block_tokens 15 must divide"):
        find_prefixes(workload, replace(base.settings, block_size=15))
    assert workload.block_hashes is not None
    apart = replace(
        workload,
        block_hashes=replace(workload.block_hashes, scope="session"),
        session_id=np.array([3, 4], np.int32),
    )
    outcome = run(replace(base, workload=apart, prefixes=find_prefixes(apart, base.settings)))
    assert cached(outcome) == [0, 0]


def test_nothing_is_cached_with_caching_off_or_without_names() -> None:
    rows: list[Row] = [(0, 25, 1, [0, 1])]
    assert inputs(rows, enable_prefix_caching=False).prefixes is None
    assert inputs([(0, 25, 1, [])]).prefixes is None
    assert inputs([(0, 9, 1, [0])]).prefixes is None


def test_a_policy_of_ones_own_runs_in_the_reference() -> None:
    rows: list[Row] = [(300 * i, 31, 2, [i % 2, 10 + i % 2, 20 + i % 3]) for i in range(20)]
    settings = inputs(rows, capacity_blocks=9, prefix_caching_policy="fifo")
    assert settings.prefixes is not None
    made: list[int] = []

    def own(capacity: int) -> Fifo:
        made.append(capacity)
        return Fifo()

    named = reference.run(settings)
    mine = reference.run(replace(settings, prefixes=replace(settings.prefixes, policy=own)))
    assert made == [9]
    assert sum(cached(named)) > 0
    assert cached(mine) == cached(named)
    assert mine.finish.tolist() == named.finish.tolist()
    with pytest.raises(ValueError, match="engine='reference'"):
        SimOptions(prefix_policy=own)


def test_policies_are_engines_and_flop_aware_needs_chains() -> None:
    blocks = BlockTrace(
        np.array([0, 2, 4]), np.array([0, 1, 1, 0], np.int32), 2, 10, np.array([25, 25], np.int32)
    )
    with pytest.raises(InputError, match="unknown policy 'belady'"):
        Prefixes(blocks, "belady")
    with pytest.raises(InputError, match="flop-aware needs blocks"):
        Prefixes(blocks, "flop-aware")
    assert Prefixes(blocks, "VLLM_LRU").policy == "vllm-lru"


def test_the_integrity_check_sees_a_use_too_many() -> None:
    prefixes = inputs([(0, 25, 9, [0, 1])]).prefixes
    assert prefixes is not None
    pool = PrefixPool(9, 10, prefixes)
    pool.check_integrity([])
    pool.cache.allocate()
    with pytest.raises(AssertionError):
        pool.check_integrity([])


def test_requests_of_different_adapters_share_nothing() -> None:
    hashes = BlockHashes(np.array([0, 2, 4, 6]), np.array([5, 6] * 3), 10)
    tokens = np.full(3, 20, np.int32)
    adapter = np.array([-1, 3, 3], np.int32)
    load = Workload(np.arange(3), tokens, tokens, block_hashes=hashes, adapter=adapter)
    settings = EngineSettings(block_size=10, max_loras=1)
    found = find_prefixes(load, settings)
    assert found is not None
    first, second, third = found.blocks.ids.reshape(3, 2).tolist()
    assert second == third
    assert not set(first) & set(second)
    alike = find_prefixes(load, EngineSettings(block_size=10))
    assert alike is not None
    assert alike.blocks.distinct == 2
