"""Pipeline stages worked out by hand: every iteration lasts 100 ps over all stages."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from servetwin.sim.inputs import SimInputs
from servetwin.sim.outcome import Outcome
from servetwin.sim.stages import Stages
from servetwin.types import EngineSettings, Workload
from support.hand import FLAT, Run

HALF = 1 << 15


def engine(lanes: int, stages: Stages | None, *requests: tuple[int, int]) -> SimInputs:
    """One engine and requests of (arrival, output); round robin over the lanes."""
    arrival, outputs = zip(*requests, strict=True)
    workload = Workload(
        np.array(arrival, np.int64),
        np.full(len(requests), 10, np.int32),
        np.array(outputs, np.int32),
        name="hand",
        source="hand",
    )
    return SimInputs(
        workload=workload,
        settings=EngineSettings(async_scheduling=False, block_size=10),
        cost=FLAT,
        capacity_blocks=100,
        max_total_tokens=1000,
        replicas=lanes,
        router="round-robin",
        seed=0,
        snapshot_interval=0,
        token_gaps=True,
        stages=stages,
    )


def waits(outcome: Outcome) -> list[tuple[int, int]]:
    """How long prompt and decodes of each request waited for stages."""
    columns = outcome.prefill_stage_wait, outcome.decode_stage_wait
    assert columns[0] is not None
    assert columns[1] is not None
    return list(zip(columns[0].tolist(), columns[1].tolist(), strict=True))


def test_what_a_prompt_adds_is_that_on_the_devices_it_has(run: Run) -> None:
    """Each token takes 10 ps, on stages that are twice as fast 5 ps, and 50 ps pass anyway."""
    cost = replace(FLAT, linear=np.arange(20, dtype=np.int64) * 10)
    inputs = engine(1, Stages(1, (0, HALF // 2, HALF)), (0, 3), (60, 1))
    found = run(replace(inputs, cost=cost))
    # The second prompt and the first decode share the iteration from 100 to 205.
    assert found.first_token.tolist() == [100, 205]
    assert found.finish.tolist() == [260, 205]
    assert waits(found) == [(0, 0), (0, 0)]
    assert found.prefill_time.tolist() == [100, 105]
    assert found.decode_time.tolist() == [55 + 55, 0]


def test_one_request_takes_as_long_as_without_stages(run: Run) -> None:
    halves = Stages(1, (0, HALF, 2 * HALF))
    plain, staged = (run(engine(1, stages, (7, 5))) for stages in (None, halves))
    assert plain.finish.tolist() == staged.finish.tolist() == [7 + 500]
    assert staged.stage_busy is not None
    assert staged.stage_busy.tolist() == [[250, 250]]


def test_two_microbatches_fill_two_stages(run: Run) -> None:
    found = run(engine(2, Stages(1, (0, HALF, 2 * HALF)), (0, 3), (0, 3)))
    # The second enters stage 0 when the first leaves it, at 50, and never waits again.
    assert found.first_token.tolist() == [100, 150]
    assert found.finish.tolist() == [300, 350]
    assert found.stage_busy is not None
    assert found.stage_busy.tolist() == [[300, 300]]
    assert waits(found) == [(0, 0), (50, 0)]
    assert found.prefill_time.tolist() == [100, 100]
    assert found.decode_time.tolist() == [200, 200]


def test_the_slowest_stage_sets_the_pace(run: Run) -> None:
    quarter = HALF // 2
    found = run(engine(2, Stages(1, (0, quarter, 4 * quarter)), (0, 3), (0, 3)))
    # 25 ps and 75 ps: the last stage serves one after the other, 75 ps each.
    assert found.first_token.tolist() == [100, 175]
    assert found.finish.tolist() == [100 + 150 + 150, 100 + 75 + 150 + 150]
    assert waits(found) == [(0, 100), (75, 100)]
    assert found.prefill_time.tolist() == [100, 100]
    assert found.decode_time.tolist() == [200, 200]


def test_engines_do_not_share_stages(run: Run) -> None:
    halves = Stages(2, (0, HALF, 2 * HALF))
    found = run(engine(4, halves, (0, 1), (0, 1), (0, 1), (0, 1)))
    assert found.finish.tolist() == [100, 100, 150, 150]


def test_copies_hide_behind_the_computation_until_they_take_longer(run: Run) -> None:
    def stage(swap: int) -> SimInputs:
        return engine(1, Stages(1, (0, HALF, 2 * HALF), swap=swap), (0, 2))

    # The prompt writes 10 tokens back; the decode fetches 11 and writes one.
    assert run(stage(4)).finish.tolist() == [200]
    assert run(stage(5)).first_token.tolist() == [100]
    assert run(stage(5)).finish.tolist() == [100 + 2 * 60]
    assert run(stage(6)).finish.tolist() == [2 * 60 + 2 * 72]


def test_one_stage_of_one_lane_changes_nothing(run: Run) -> None:
    requests = [(0, 4), (30, 2), (35, 9), (990, 1)]
    plain, staged = (run(engine(1, s, *requests)) for s in (None, Stages(1, (0, 2 * HALF))))
    for name in ("first_scheduled", "first_token", "finish", "gaps"):
        assert getattr(plain, name).tolist() == getattr(staged, name).tolist()


def test_without_stages_nobody_counts_their_work(run: Run) -> None:
    assert run(replace(engine(1, None, (0, 1)))).stage_busy is None
