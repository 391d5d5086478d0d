"""KV tiers worked out by hand. An iteration lasts 100 ps and 1 ps a token; blocks of 10."""

from __future__ import annotations

import numpy as np

from servetwin.cache.tiers import TierLimits
from servetwin.sim.inputs import SimInputs
from servetwin.sim.prefixes import find_prefixes
from servetwin.types import BlockHashes, EngineSettings, Workload
from support.hand import BY_TOKEN, Run

FIRST = (0, 30, [0, 1, 2])
DRIVES_OUT = (1000, 40, [6, 7, 8, 9])
RETURNS = (2000, 31, [0, 1, 2])
"""Arrival, input tokens and the names of their blocks; all of one output token."""


def inputs(rows: list[tuple[int, int, list[int]]], blocks: int, *tiers: TierLimits) -> SimInputs:
    ids = [name for row in rows for name in row[2]]
    offsets = np.cumsum([0, *(len(row[2]) for row in rows)])
    workload = Workload(
        np.array([row[0] for row in rows], np.int64),
        np.array([row[1] for row in rows], np.int32),
        np.ones(len(rows), np.int32),
        block_hashes=BlockHashes(offsets, np.array(ids, np.int64), 10),
    )
    settings = EngineSettings(
        max_num_batched_tokens=100, max_num_seqs=4, block_size=10, async_scheduling=False
    )
    return SimInputs(
        workload=workload,
        settings=settings,
        cost=BY_TOKEN,
        capacity_blocks=blocks,
        max_total_tokens=10_000,
        replicas=1,
        router="round-robin",
        seed=0,
        snapshot_interval=0,
        token_gaps=True,
        prefixes=find_prefixes(workload, settings),
        tiers=tiers,
    )


def test_what_was_evicted_is_loaded(run: Run) -> None:
    """Three blocks come back in 3 * 3 + 2 ps, computing them would take 30; then one token."""
    host = TierLimits("host", blocks=10, block_ps=3, latency_ps=2)
    outcome = run(inputs([FIRST, DRIVES_OUT, RETURNS], 4, host))
    assert outcome.kv_transfer is not None
    assert outcome.cached_tokens is not None
    assert outcome.kv_transfer.tolist() == [0, 0, 11]
    assert outcome.cached_tokens.tolist() == [0, 0, 30]
    assert outcome.first_scheduled.tolist() == [0, 1000, 2011]
    assert outcome.finish.tolist() == [130, 1140, 2011 + 101]
    (traffic,) = outcome.tiers
    assert (traffic.written, traffic.loaded, traffic.declined) == (3 + 4, 3, 0)


def test_what_is_quicker_to_compute_is_computed(run: Run) -> None:
    """A block takes 10 ps either way, and the load has a latency on top."""
    host = TierLimits("host", blocks=10, block_ps=10, latency_ps=2)
    outcome = run(inputs([FIRST, DRIVES_OUT, RETURNS], 4, host))
    without = run(inputs([FIRST, DRIVES_OUT, RETURNS], 4))
    assert outcome.finish.tolist() == without.finish.tolist() == [130, 1140, 2131]
    assert outcome.tiers[0].declined == 3


def test_a_write_must_have_ended(run: Run) -> None:
    """Blocks 2, 1 and 0 leave HBM in that order at 1000: the last is not there at 2000."""
    slow = TierLimits("slow", blocks=10, block_ps=400, latency_ps=0)
    outcome = run(inputs([FIRST, DRIVES_OUT, RETURNS], 4, slow))
    assert outcome.tiers[0].declined == 0
    assert outcome.finish[2] == 2131


def test_a_load_holds_nobody_up(run: Run) -> None:
    """Block 0 is still in HBM. While 1 and 2 come, a short request runs, which is waited for."""
    host = TierLimits("host", blocks=10, block_ps=3, latency_ps=2)
    outcome = run(inputs([FIRST, DRIVES_OUT, RETURNS, (2000, 5, [])], 5, host))
    assert outcome.kv_transfer is not None
    assert outcome.kv_transfer.tolist() == [0, 0, 8, 0]
    assert outcome.first_scheduled.tolist() == [0, 1000, 2105, 2000]
    assert outcome.finish.tolist() == [130, 1140, 2206, 2105]


def test_the_second_tier_has_what_the_first_has_no_room_for(run: Run) -> None:
    """Block 0 is in the host's memory; 1 and 2 went on: 3 + 2 ps, then 2 * 5 + 4."""
    host = TierLimits("host", blocks=1, block_ps=3, latency_ps=2)
    ssd = TierLimits("ssd", blocks=10, block_ps=5, latency_ps=4)
    outcome = run(inputs([FIRST, DRIVES_OUT, RETURNS], 4, host, ssd))
    assert outcome.kv_transfer is not None
    assert outcome.kv_transfer[2] == 19
    assert [tier.loaded for tier in outcome.tiers] == [1, 2]
