"""Small runs worked out by hand: what `docs/background/semantics.md` says, in numbers.

Every iteration lasts 100 ps here unless a test says otherwise.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from servetwin.errors import InputError
from servetwin.sim import kernel
from servetwin.sim.inputs import SimInputs
from servetwin.sim.outcome import Outcome
from servetwin.types import EngineSettings, Status, Workload
from servetwin.units import MAX_TIME_PS, NOT_YET, PS_PER_S
from support.hand import FLAT


def workload(*rows: tuple[int, int, int]) -> Workload:
    """Rows of (arrival, input, output)."""
    arrival, inputs, outputs = zip(*rows, strict=True)
    return Workload(
        np.array(arrival, np.int64), np.array(inputs, np.int32), np.array(outputs, np.int32)
    )


def inputs(load: Workload, **changes: object) -> SimInputs:
    engine = {
        "scheduler": "vllm",
        "max_num_batched_tokens": 100,
        "max_num_seqs": 4,
        "max_model_len": 10_000,
        "block_size": 10,
        "async_scheduling": False,
    }
    run_level = {"capacity_blocks": 100, "replicas": 1, "router": "round-robin"}
    for name, value in changes.items():
        (run_level if name in run_level else engine)[name] = value
    return SimInputs(
        workload=load,
        settings=EngineSettings(**engine),
        cost=FLAT,
        max_total_tokens=10_000,
        seed=0,
        snapshot_interval=0,
        token_gaps=True,
        **run_level,
    )


def times(outcome: Outcome) -> list[tuple[int, int, int]]:
    columns = (outcome.first_scheduled, outcome.first_token, outcome.finish)
    return [tuple(int(value) for value in row) for row in zip(*columns, strict=True)]


def test_a_lone_request_takes_one_iteration_a_token(run) -> None:
    outcome = run(inputs(workload((50, 20, 3))))
    assert times(outcome) == [(50, 150, 350)]
    assert outcome.gaps.sum() == 2


def test_an_arrival_at_a_boundary_is_seen_by_the_next_plan(run) -> None:
    outcome = run(inputs(workload((0, 20, 5), (200, 20, 1), (201, 20, 1))))
    assert times(outcome) == [(0, 100, 500), (200, 300, 300), (300, 400, 400)]


def test_async_scheduling_plans_one_iteration_ahead(run) -> None:
    """The plan for the iteration from 200 to 300 was made at 100, without request 1."""
    outcome = run(inputs(workload((0, 20, 8), (150, 20, 1)), async_scheduling=True))
    assert times(outcome) == [(0, 100, 800), (200, 400, 400)]


def test_async_scheduling_returns_a_seat_one_plan_later(run) -> None:
    load = workload((0, 20, 2), (0, 20, 8), (0, 20, 1))
    sync = run(inputs(load, max_num_seqs=2))
    ahead = run(inputs(load, max_num_seqs=2, async_scheduling=True))
    assert times(sync)[2] == (200, 300, 300)
    assert times(ahead)[2] == (200, 400, 400)


def test_a_prompt_longer_than_the_budget_is_split(run) -> None:
    outcome = run(inputs(workload((0, 250, 2))))
    assert times(outcome) == [(0, 300, 400)]
    assert outcome.split_chunks == 2


def test_the_last_admitted_is_preempted_and_recomputed(run) -> None:
    """Both hold one block of ten; when both need a second, one block is left."""
    load = workload((0, 9, 9), (0, 9, 9))
    outcome = run(inputs(load, capacity_blocks=3))
    assert outcome.preemptions.tolist() == [0, 1]
    # Tokens at 100 and 200; at 200 both need a block. Request 1 returns when 0 is done.
    assert times(outcome) == [(0, 100, 900), (0, 100, 1600)]


def test_the_whole_input_must_fit_before_its_first_chunk(run) -> None:
    load = workload((0, 50, 30), (0, 60, 1))
    outcome = run(inputs(load, capacity_blocks=10, max_num_batched_tokens=60))
    assert times(outcome)[1][0] == times(outcome)[0][2]


def test_requests_that_can_never_fit_are_rejected(run) -> None:
    outcome = run(inputs(workload((0, 95, 6), (10, 95, 7)), capacity_blocks=10))
    assert outcome.status.tolist() == [Status.OK, Status.REJECTED]
    assert times(outcome)[1] == (NOT_YET, NOT_YET, NOT_YET)
    assert outcome.replica.tolist() == [0, -1]


def test_a_follow_up_arrives_after_its_parent(run) -> None:
    load = workload((0, 10, 2), (0, 10, 1), (0, 10, 1))
    load = replace(
        load,
        arrival=np.array([0, NOT_YET, NOT_YET], np.int64),
        parent=np.array([-1, 0, 0], np.int32),
        think_time=np.array([0, 0, 35], np.int64),
    )
    outcome = run(inputs(load))
    assert outcome.arrival.tolist() == [0, 201, 235]
    assert times(outcome)[1:] == [(201, 301, 301), (301, 401, 401)]


def test_orca_never_splits_and_reserves_the_whole_answer(run) -> None:
    load = workload((0, 250, 10), (0, 30, 30))
    outcome = run(inputs(load, scheduler="orca", capacity_blocks=30))
    assert times(outcome) == [(0, 100, 1000), (1000, 1100, 4000)]


def test_a_static_batch_waits_for_its_longest_answer(run) -> None:
    load = workload((0, 10, 1), (0, 10, 5), (10, 10, 2))
    outcome = run(inputs(load, scheduler="static", max_num_seqs=2))
    assert times(outcome) == [(0, 100, 100), (0, 100, 500), (500, 600, 700)]


def test_single_serves_one_after_another(run) -> None:
    outcome = run(inputs(workload((0, 10, 2), (0, 10, 2)), scheduler="single"))
    assert times(outcome) == [(0, 100, 200), (200, 300, 400)]


def test_slots_compute_prompts_in_the_order_of_their_slots(run) -> None:
    """Slot 0 is free again before slot 1's prompt is done, and goes first."""
    load = workload((0, 10, 1), (0, 250, 1), (50, 95, 1))
    outcome = run(inputs(load, scheduler="slots", max_num_seqs=2, capacity_blocks=60))
    assert times(outcome) == [(0, 100, 100), (0, 400, 400), (100, 200, 200)]


def test_sarathi_serves_decodes_beyond_its_chunk(run) -> None:
    load = workload((0, 1, 9), (0, 1, 9), (0, 4, 1))
    outcome = run(inputs(load, scheduler="sarathi", max_num_batched_tokens=2))
    # Two decodes fill the chunk until they are done.
    assert times(outcome) == [(0, 100, 900), (0, 100, 900), (900, 1100, 1100)]


@pytest.mark.parametrize(
    ("router", "homes"),
    [
        ("round-robin", [0, 1, 0, 1]),
        ("least-outstanding", [0, 1, 1, 0]),
        ("least-tokens", [0, 1, 1, 0]),
    ],
)
def test_routers(run, router: str, homes: list[int]) -> None:
    """Request 0 is long; request 1 has finished, at 100, before the others arrive."""
    load = workload((0, 30, 9), (0, 10, 1), (150, 40, 9), (160, 10, 1))
    outcome = run(inputs(load, replicas=2, router=router))
    assert outcome.replica.tolist() == homes


def test_equal_seeds_repeat_and_other_seeds_differ(run) -> None:
    load = workload(*((10 * i, 10, 5) for i in range(64)))
    base = inputs(load, replicas=4, router="random")
    first, again, other = run(base), run(base), run(replace(base, seed=1))
    assert first.replica.tolist() == again.replica.tolist()
    assert first.replica.tolist() != other.replica.tolist()


def test_a_cluster_that_would_fill_the_machine_is_refused() -> None:
    with pytest.raises(InputError, match="fewer replicas"):
        kernel.run(inputs(workload((0, 10, 1)), replicas=200_000_000))


def test_arrivals_up_to_the_last_day_are_served(run) -> None:
    outcome = run(inputs(workload((0, 10, 2), (MAX_TIME_PS, 10, 2))))
    assert outcome.status.tolist() == [Status.OK, Status.OK]


def test_a_run_beyond_the_clock_is_refused(run) -> None:
    slow = replace(FLAT, base=PS_PER_S * 86_400)
    with pytest.raises(InputError, match="106 days"):
        run(replace(inputs(workload((MAX_TIME_PS, 10, 40))), cost=slow))


def test_a_chain_of_turns_beyond_the_clock_is_refused(run) -> None:
    """The arrival of a follow-up wraps around before any iteration does."""
    turns = 150
    chain = Workload(
        arrival=np.array([0] + [NOT_YET] * (turns - 1)),
        input_tokens=np.full(turns, 10, np.int32),
        output_tokens=np.ones(turns, np.int32),
        parent=np.arange(-1, turns - 1, dtype=np.int32),
        think_time=np.full(turns, PS_PER_S * 86_400),
    )
    with pytest.raises(InputError, match="106 days"):
        run(inputs(chain))


def test_prefill_attention_of_a_huge_prompt_does_not_wrap(run) -> None:
    """10 M tokens of Llama-like cost in one iteration: 1e14 doubled pairs at 5 ns."""
    huge = replace(FLAT, prefill_attn=5_000 * 1024)
    load = inputs(workload((0, 10_000_000, 1)), scheduler="orca", capacity_blocks=10**7)
    outcome = run(replace(load, cost=huge, max_total_tokens=10**8))
    assert outcome.finish.tolist() == [100 + 5_000 * 10**14]


def test_time_is_attributed_to_own_and_others_prefill_and_decode(run) -> None:
    """A token costs 1 ps more: prompts of 20 last 119 alone, and add 20 to one decode's 100."""
    load = workload((0, 20, 5), (150, 20, 1))
    outcome = run(replace(inputs(load), cost=replace(FLAT, linear_slope=1)))
    assert times(outcome) == [(0, 119, 539), (219, 339, 339)]
    assert outcome.prefill_time.tolist() == [119, 120]
    assert outcome.decode_time.tolist() == [400, 0]
    assert outcome.preempted_time.tolist() == [0, 0]


def test_two_prompts_share_the_time_of_their_iteration_by_tokens(run) -> None:
    load = workload((0, 30, 1), (0, 10, 1))
    outcome = run(replace(inputs(load), cost=replace(FLAT, base=1, linear_slope=10)))
    assert times(outcome) == [(0, 391, 391), (0, 391, 391)]
    assert outcome.prefill_time.tolist() == [293, 97]


def test_what_preemption_costs_is_told_apart(run) -> None:
    """Request 1 has its second token at 200, loses its block, and has the third at 1000."""
    outcome = run(inputs(workload((0, 9, 9), (0, 9, 9)), capacity_blocks=3))
    assert outcome.preempted_time.tolist() == [0, 800]
    assert outcome.prefill_time.tolist() == [50, 50]
    assert outcome.decode_time.tolist() == [800, 700]
