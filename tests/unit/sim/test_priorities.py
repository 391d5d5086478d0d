"""Priority scheduling worked out by hand; every iteration lasts 100 ps, a block has 10 tokens."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from servetwin.sim.failures import Failures
from servetwin.sim.inputs import SimInputs
from servetwin.types import EngineSettings, Workload
from support.hand import FLAT, Run


def inputs(*rows: tuple[int, int, int, int], blocks: int = 100, seats: int = 4) -> SimInputs:
    """Rows of (arrival, input, output, priority)."""
    arrival, given, made, priority = (np.array(column, np.int64) for column in zip(*rows))  # noqa: B905
    lengths = (column.astype(np.int32) for column in (given, made))
    settings = EngineSettings(
        scheduling_policy="priority",
        max_num_batched_tokens=100,
        max_num_seqs=seats,
        max_model_len=10_000,
        block_size=10,
        async_scheduling=False,
    )
    return SimInputs(
        workload=Workload(arrival, *lengths, priority=priority.astype(np.int32)),
        settings=settings,
        cost=FLAT,
        capacity_blocks=blocks,
        max_total_tokens=10_000,
        replicas=1,
        router="round-robin",
        seed=0,
        snapshot_interval=0,
        token_gaps=True,
    )


def test_the_smaller_number_is_served_first_and_then_the_earlier(run: Run) -> None:
    load = inputs((0, 9, 1, 5), (10, 9, 1, 1), (20, 9, 1, 0), (30, 9, 1, 0), seats=1)
    found = run(load)
    assert found.finish.tolist() == [100, 400, 200, 300]


def test_nobody_who_runs_makes_way_for_somebody_who_waits(run: Run) -> None:
    found = run(inputs((0, 9, 5, 1), (10, 9, 1, 0), seats=1))
    assert found.finish.tolist() == [500, 600]
    assert not found.preemptions.any()


def test_tokens_of_a_victim_that_was_served_are_taken_back(run: Run) -> None:
    # In the plan of 300 the first is served before the second runs out of blocks.
    found = run(inputs((0, 5, 6, 1), (50, 9, 4, 0), blocks=2))
    assert found.preemptions.tolist() == [1, 0]
    assert found.finish.tolist() == [800, 500]


def test_those_behind_a_victim_of_itself_get_nothing(run: Run) -> None:
    # In the plan of 200 the second needs a block; the third goes on in that of 300.
    found = run(inputs((0, 5, 6, 0), (0, 9, 4, 1), (50, 12, 4, 0), blocks=4))
    assert found.preemptions.tolist() == [0, 1, 0]
    assert found.finish.tolist() == [600, 800, 600]
    # Gaps of 100 ps, of 200 ps for the third, and of 500 ps for the second.
    assert sorted(found.gaps[found.gaps > 0].tolist()) == [1, 1, 9]
    assert found.decode_time.tolist() == [500, 200, 400]


def test_without_priorities_arrival_decides(run: Run) -> None:
    load = inputs((0, 9, 3, 0), (0, 9, 3, 0), (50, 12, 3, 0), blocks=4)
    alone = replace(load, workload=replace(load.workload, priority=None))
    assert run(alone).finish.tolist() == run(load).finish.tolist()


def test_who_begins_anew_has_the_place_of_its_priority(run: Run) -> None:
    requests = ((0, 9, 3, 1), (10, 9, 3, 0), (20, 9, 3, 2), (30, 9, 3, 0))
    load = inputs(*requests, seats=1)
    failing = replace(load, failures=Failures((50,), (0,), detect=1, restart=9))
    # The first was under way when its engine failed, and is served before the third all the same.
    assert run(load).finish.tolist() == [300, 600, 1200, 900]
    assert run(failing).finish.tolist() == [960, 360, 1260, 660]
