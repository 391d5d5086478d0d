"""Prefill and decode pools worked out by hand.

Every iteration lasts 100 ps, a block holds 10 tokens and moves in 5 ps after 2 ps of latency.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from servetwin.errors import InputError
from servetwin.sim import reference
from servetwin.sim.inputs import DecodeInputs, SimInputs
from servetwin.sim.outcome import Outcome
from servetwin.sim.pools import TransferLink, transfer_link
from servetwin.sim.prefixes import find_prefixes
from servetwin.sim.stages import Stages
from servetwin.types import (
    SCHEDULERS,
    Accelerator,
    BlockHashes,
    DecodePool,
    EngineSettings,
    Link,
    Status,
    Workload,
)
from servetwin.units import CLOCK_END_PS, NOT_YET
from support.cases import Shape, try_examples
from support.hand import FLAT, Run
from support.pools import Pair, assert_pools_conserve, counted_back_pressure, pooled_inputs

AFTER = TransferLink(block_ps=5, latency_ps=2)


def workload(*rows: tuple[int, int, int]) -> Workload:
    """Rows of (arrival, input, output)."""
    arrival, inputs, outputs = zip(*rows, strict=True)
    return Workload(
        np.array(arrival, np.int64), np.array(inputs, np.int32), np.array(outputs, np.int32)
    )


def engine(load: Workload, **changes: object) -> SimInputs:
    """One pool; settings of the engine and fields of SimInputs alike."""
    names = EngineSettings.__dataclass_fields__
    known = {name: changes.pop(name) for name in tuple(changes) if name in names}
    settings = EngineSettings(**{**ENGINE, **known})
    values: dict[str, object] = {
        "cost": FLAT,
        "capacity_blocks": 100,
        "max_total_tokens": 10_000,
        "replicas": 1,
        "router": "round-robin",
        "seed": 0,
        "snapshot_interval": 0,
        "token_gaps": True,
        "prefixes": find_prefixes(load, settings),
    }
    return SimInputs(load, settings, **{**values, **changes})


ENGINE: dict[str, object] = {
    "max_num_batched_tokens": 100,
    "max_num_seqs": 4,
    "block_size": 10,
    "async_scheduling": False,
}


def pooled(prefill: SimInputs, link: TransferLink = AFTER, **decode: object) -> SimInputs:
    return replace(prefill, decode=DecodeInputs(engine(prefill.workload, **decode), link))


def times(outcome: Outcome) -> list[tuple[int, int, int]]:
    columns = (outcome.first_scheduled, outcome.first_token, outcome.finish)
    return [tuple(int(value) for value in row) for row in zip(*columns, strict=True)]


def listed(column: object) -> list[int]:
    assert isinstance(column, np.ndarray)
    return [int(value) for value in column]


def test_a_lone_request_goes_on_when_its_blocks_have_come(run: Run) -> None:
    outcome = run(pooled(engine(workload((50, 20, 3)))))
    assert times(outcome) == [(50, 150, 150 + 12 + 200)]
    assert listed(outcome.prefill_replica) == [0]
    assert listed(outcome.replica) == [1]
    assert listed(outcome.kv_transfer) == listed(outcome.handover_transfer) == [12]
    assert listed(outcome.handover) == [12]
    assert listed(outcome.decode_time) == [200]
    assert outcome.gaps.sum() == 2


def test_the_work_of_the_stages_of_either_pool_is_counted(run: Run) -> None:
    stages = Stages(1, (0, 1 << 14, 1 << 16))
    prefill = engine(workload((50, 20, 3)))
    outcome = run(pooled(prefill, stages=stages))
    assert outcome.stage_busy is None
    assert outcome.decode_stage_busy is not None
    assert outcome.decode_stage_busy.tolist() == [[50, 150]]
    outcome = run(pooled(replace(prefill, stages=stages)))
    assert outcome.stage_busy is not None
    assert outcome.stage_busy.tolist() == [[25, 75]]
    assert outcome.decode_stage_busy is None


def test_layers_are_sent_while_later_ones_are_computed(run: Run) -> None:
    """Two blocks take 10 ps, of which the prompt's 100 ps hide all but the last layer's."""
    load = engine(workload((0, 20, 3)))
    assert times(run(pooled(load, replace(AFTER, layers=5))))[0][2] == 100 + 2 + 2 + 200
    assert times(run(pooled(load, replace(AFTER, layers=3))))[0][2] == 100 + 2 + 4 + 200
    slow = TransferLink(block_ps=60, latency_ps=0, layers=10)
    assert times(run(pooled(load, slow)))[0][2] == 100 + (120 - 100) + 200


def test_a_link_that_takes_no_time_takes_one_picosecond(run: Run) -> None:
    outcome = run(pooled(engine(workload((0, 20, 3), (0, 20, 5))), TransferLink(0, 0)))
    assert times(outcome) == [(0, 100, 301), (0, 100, 601)]
    # The second transfer waits for the first: at 101 it is under way, and joins at 201.
    assert listed(outcome.handover) == [1, 101]
    assert listed(outcome.handover_transfer) == [1, 2]


def test_a_request_of_one_token_stays_in_the_prefill_pool(run: Run) -> None:
    outcome = run(pooled(engine(workload((0, 20, 1)))))
    assert times(outcome) == [(0, 100, 100)]
    assert listed(outcome.replica) == listed(outcome.prefill_replica) == [0]
    assert listed(outcome.handover) == listed(outcome.kv_transfer) == [0]


@pytest.mark.parametrize(
    ("senders", "receivers", "ends"), [(1, 1, [12, 24]), (1, 2, [12, 24]), (2, 1, [12, 24])]
)
def test_transfers_of_one_replica_follow_each_other(
    run: Run, senders: int, receivers: int, ends: list[int]
) -> None:
    load = engine(workload((0, 20, 3), (0, 20, 3)), replicas=senders)
    assert listed(run(pooled(load, replicas=receivers)).handover_transfer) == ends


def test_transfers_between_different_replicas_do_not_meet(run: Run) -> None:
    load = engine(workload((0, 20, 3), (0, 20, 3)), replicas=2)
    outcome = run(pooled(load, replicas=2))
    assert listed(outcome.handover_transfer) == [12, 12]
    assert listed(outcome.replica) == [2, 3]


def test_a_full_decode_pool_holds_up_the_prefill_pool(run: Run) -> None:
    """Two prompts fill the prefill replica; the third waits until the first has moved.

    The decode replica has one seat: the others wait for it with their blocks where they are.
    """
    load = workload((0, 20, 3), (0, 20, 3), (0, 20, 3))
    prefill = engine(load, capacity_blocks=4, snapshot_interval=100)
    outcome = run(pooled(prefill, max_num_seqs=1, snapshot_interval=100))
    assert times(outcome) == [(0, 100, 312), (0, 100, 524), (112, 212, 736)]
    assert listed(outcome.handover) == [12, 224, 324]
    assert outcome.peak_blocks == 4
    assert outcome.snapshots is not None
    # Of request 0 until 112, of request 1 until 324, of request 2 until 536.
    assert listed(outcome.snapshots.kv_blocks[:, 0]) == [4, 4, 4, 2, 2, 0, 0, 0]
    assert listed(outcome.snapshots.waiting[:, 1]) == [2, 1, 2, 1, 1, 0, 0, 0]


def test_who_is_preempted_after_the_transfer_is_recomputed_there(run: Run) -> None:
    """Request 1 joins at 207 with one block, needs a second at 307, and has none until 907."""
    outcome = run(pooled(engine(workload((0, 9, 9), (0, 9, 9))), capacity_blocks=3))
    assert times(outcome) == [(0, 100, 907), (0, 100, 1607)]
    assert listed(outcome.preemptions) == [0, 1]
    assert listed(outcome.handover_transfer) == [7, 14]
    assert listed(outcome.preempted_time) == [0, 700]
    assert listed(outcome.decode_time) == [800, 100 + 600]


def test_what_the_decode_replica_has_cached_need_not_come(run: Run) -> None:
    load = replace(
        workload((0, 25, 2), (1000, 25, 2)),
        block_hashes=BlockHashes(np.array([0, 2, 4]), np.array([7, 8, 7, 8]), 10),
    )
    outcome = run(pooled(engine(load, enable_prefix_caching=False)))
    assert listed(outcome.handover_transfer) == [17, 7]
    assert outcome.cached_tokens is None
    both = run(pooled(engine(load)))
    assert listed(both.handover_transfer) == [17, 7]
    assert listed(both.cached_tokens) == [0, 20]


def test_a_follow_up_arrives_after_the_last_token(run: Run) -> None:
    load = replace(
        workload((0, 20, 3), (0, 10, 1)),
        arrival=np.array([0, NOT_YET], np.int64),
        parent=np.array([-1, 0], np.int32),
        think_time=np.array([0, 8], np.int64),
    )
    outcome = run(pooled(engine(load)))
    assert listed(outcome.arrival) == [0, 320]
    assert times(outcome)[1] == (320, 420, 420)


def test_what_one_of_the_pools_can_never_hold_is_rejected(run: Run) -> None:
    load = workload((0, 50, 51), (0, 50, 52), (0, 120, 1), (0, 121, 1), (0, 101, 2))
    outcome = run(pooled(engine(load, capacity_blocks=12), capacity_blocks=10))
    assert outcome.status.tolist() == [
        Status.OK,
        Status.REJECTED,
        Status.OK,
        Status.REJECTED,
        Status.REJECTED,
    ]
    assert listed(outcome.prefill_replica) == [0, -1, 0, -1, -1]


def test_the_decode_pool_has_a_router_of_its_own(run: Run) -> None:
    """Request 0 decodes for long; 1 and 2 are routed when it is the only one there."""
    load = engine(workload((0, 20, 20), (300, 10, 2), (700, 10, 2)))
    outcome = run(pooled(load, replicas=2, router="least-outstanding"))
    assert listed(outcome.replica) == [1, 2, 2]


def test_transfers_beyond_the_clock_are_refused(run: Run) -> None:
    """Each takes a third of the clock, and they follow each other."""
    slow = TransferLink(CLOCK_END_PS // 6, 0)
    load = engine(workload(*[(0, 20, 2)] * 4))
    assert run(pooled(engine(workload(*[(0, 20, 2)] * 2)), slow)).status.tolist() == [0, 0]
    with pytest.raises(InputError, match="106 days"):
        run(pooled(load, slow))


GPU = Accelerator("A", {"bf16": 1e12}, 1e12, 1e9)


def test_a_link_is_rounded_up_to_picoseconds_a_block() -> None:
    pool = DecodePool(GPU, Link("in", 1e9, 0.0), Link("between", 3e9, 1e-6))
    assert transfer_link(pool, 32, 1000.0, 10) == TransferLink(333_334, 10**6, 32)
    after = replace(pool, layerwise=False)
    assert transfer_link(after, 32, 1000.0, 10) == TransferLink(333_334, 10**6, 0)


def test_a_link_that_would_outlast_the_clock_is_refused() -> None:
    pool = DecodePool(GPU, Link("in", 1e9, 0.0), Link("string", 1e-3, 0.0))
    with pytest.raises(InputError, match="link string between the pools is too slow"):
        transfer_link(pool, 32, 1e6, 1000)


def test_nothing_is_lost_between_the_pools() -> None:
    seen: Counter[str] = Counter()

    def check(inputs: SimInputs) -> None:
        outcome = reference.run(inputs, check=True)
        assert_pools_conserve(inputs, outcome)
        seen["preempting"] += bool(outcome.preemptions.any())

    with counted_back_pressure(seen):
        for number, scheduler in enumerate(SCHEDULERS):
            pair = Pair(Shape("vllm", "round-robin"), Shape(scheduler, "least-tokens"), True)
            try_examples(check, pooled_inputs(pair), 20, number)
    assert seen["held up"] > 30
    assert seen["preempting"] > 5
