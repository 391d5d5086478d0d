"""Failures worked out by hand: every iteration lasts 100 ps, an engine is back 30 ps later."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from servetwin.results.gaps import bin_of
from servetwin.sim.failures import LOSSES, Failures
from servetwin.sim.inputs import SimInputs
from servetwin.sim.outcome import Outcome
from servetwin.sim.prefixes import find_prefixes
from servetwin.sim.stages import Stages
from servetwin.types import BlockHashes, EngineSettings, Workload
from support.hand import FLAT, Run

HALF = 1 << 15


def failing(*at: tuple[int, int], **more: int | bool) -> Failures:
    """Failures of (time, engine)."""
    times, engines = zip(*at, strict=True)
    return replace(Failures(times, engines, detect=10, restart=20), **more)


def engines(
    count: int, failures: Failures | None, *requests: tuple[int, int], ahead: bool = False
) -> SimInputs:
    """So many engines, and requests of 10 input tokens: (arrival, output)."""
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
        settings=EngineSettings(async_scheduling=ahead, block_size=10),
        cost=FLAT,
        capacity_blocks=100,
        max_total_tokens=1000,
        replicas=count,
        router="round-robin",
        seed=0,
        snapshot_interval=0,
        token_gaps=True,
        failures=failures,
    )


def losses(outcome: Outcome) -> dict[str, int]:
    assert outcome.losses is not None
    return {name: lost for name, lost in zip(LOSSES, outcome.losses.tolist(), strict=True) if lost}


def outages(outcome: Outcome) -> list[list[int]]:
    assert outcome.outages is not None
    return outcome.outages.tolist()


def outage(outcome: Outcome) -> tuple[list[int], list[int]]:
    """What outages cost each request before and after its first token."""
    assert outcome.prefill_outage is not None
    assert outcome.decode_outage is not None
    return outcome.prefill_outage.tolist(), outcome.decode_outage.tolist()


def gaps_of(outcome: Outcome) -> dict[int, int]:
    """How often each bin of the histogram was hit."""
    return {int(b): int(outcome.gaps[b]) for b in np.flatnonzero(outcome.gaps)}


@pytest.mark.parametrize("ahead", [False, True])
def test_with_copies_a_failure_is_a_delay(run: Run, ahead: bool) -> None:
    plan = failing((250, 0), replicated=True, restore_block=3)
    found = run(engines(1, plan, (0, 5), ahead=ahead))
    # Two blocks are in use when the iteration from 200 to 300 begins: 30 + 2 * 3 ps.
    assert outages(found) == [[250, 0, 286]]
    assert found.first_token.tolist() == [100]
    assert found.finish.tolist() == [286 + 3 * 100]
    assert gaps_of(found) == {bin_of(100): 3, bin_of(186): 1}
    assert losses(found) == {"interrupted": 1}
    # It began at 200 and, for good, at 286.
    assert outage(found) == ([0], [86])
    assert (found.prefill_time.tolist(), found.decode_time.tolist()) == ([100], [400])
    behind = run(engines(1, replace(plan, lag=2), (0, 5), ahead=ahead))
    assert outages(behind) == [[250, 0, 486]]


@pytest.mark.parametrize("ahead", [False, True])
def test_without_copies_prompt_and_tokens_are_computed_again(run: Run, ahead: bool) -> None:
    found = run(engines(1, failing((250, 0)), (0, 5), ahead=ahead))
    assert outages(found) == [[250, 0, 280]]
    # The user has the tokens of 100 and 200; those of 380 and 480 are the same once more.
    assert found.first_token.tolist() == [100]
    assert found.finish.tolist() == [280 + 5 * 100]
    assert gaps_of(found) == {bin_of(100): 3, bin_of(380): 1}
    assert losses(found) == {
        "interrupted": 1,
        "prompts": 1,
        "prompt_tokens": 10,
        "output_tokens": 2,
    }
    assert found.retries is not None
    assert found.retries.tolist() == [1]
    assert found.prefill_time.tolist() == [100]
    assert found.decode_time.tolist() == [300]
    assert outage(found) == ([0], [580 - 200])
    assert found.preempted_time.tolist() == [0]


@pytest.mark.parametrize("ahead", [False, True])
def test_what_ends_at_the_failure_has_ended(run: Run, ahead: bool) -> None:
    plan = failing((200, 0), replicated=True)
    found = run(engines(1, plan, (0, 2), (0, 3), ahead=ahead))
    assert found.finish.tolist() == [200, 330]
    found = run(engines(1, replace(plan, replicated=False), (0, 2), (0, 3), ahead=ahead))
    assert found.finish.tolist() == [200, 230 + 3 * 100]
    assert found.retries is not None
    assert found.retries.tolist() == [0, 1]


@pytest.mark.parametrize("ahead", [False, True])
def test_a_failure_before_the_first_token(run: Run, ahead: bool) -> None:
    found = run(engines(1, failing((40, 0)), (0, 2), ahead=ahead))
    assert found.first_scheduled.tolist() == [0]
    assert found.first_token.tolist() == [70 + 100]
    assert losses(found) == {"interrupted": 1}
    assert outage(found) == ([70], [0])
    assert found.prefill_time.tolist() == [100]
    assert found.preempted_time.tolist() == [0]


@pytest.mark.parametrize("replicated", [False, True])
def test_an_idle_engine_that_fails_lets_requests_wait(run: Run, replicated: bool) -> None:
    found = run(engines(1, failing((5, 0), replicated=replicated), (7, 1), (100, 1)))
    assert found.first_scheduled.tolist() == [35, 135]
    assert losses(found) == {}


def test_an_engine_that_is_down_does_not_fail(run: Run) -> None:
    found = run(engines(1, failing((250, 0), (260, 0), (280, 0), (281, 0)), (0, 5)))
    assert outages(found) == [[250, 0, 280], [281, 0, 311]]
    # The second one interrupts the prompt, so that no token is lost again.
    assert found.finish.tolist() == [311 + 5 * 100]
    assert found.retries is not None
    assert found.retries.tolist() == [2]
    assert losses(found)["output_tokens"] == 2


@pytest.mark.parametrize("ahead", [False, True])
def test_the_same_tokens_may_be_lost_twice(run: Run, ahead: bool) -> None:
    found = run(engines(1, failing((350, 0), (500, 0)), (0, 5), ahead=ahead))
    # Three tokens, then one of them again from 380 to 480, then all from 530 on.
    assert losses(found)["output_tokens"] == 3 + 1
    assert found.finish.tolist() == [530 + 5 * 100]
    assert gaps_of(found) == {bin_of(100): 3, bin_of(530 + 400 - 300): 1}


def test_waiting_and_lost_requests_go_to_other_engines_once_it_is_known(run: Run) -> None:
    requests = ((0, 2), (0, 2), (55, 1), (57, 1), (65, 1), (85, 1))
    found = run(engines(2, failing((50, 0)), *requests))
    # The third comes before the failure is known, the fifth after. The last finds it back.
    assert found.replica.tolist() == [1, 1, 1, 1, 1, 0]
    assert found.first_token.tolist() == [200, 100, 200, 200, 200, 185]
    assert losses(found) == {"interrupted": 1, "rerouted": 2}
    stay = run(engines(2, failing((50, 0), reroute=False), *requests))
    assert stay.replica.tolist() == [0, 1, 0, 1, 1, 0]
    assert stay.first_token.tolist() == [180, 100, 180, 200, 200, 280]


@pytest.mark.parametrize(("ahead", "planned"), [(False, 300), (True, 400)])
def test_who_is_rerouted_comes_after_the_iterations_that_end_then(
    run: Run, ahead: bool, planned: int
) -> None:
    found = run(engines(2, failing((190, 0)), (0, 5), (0, 9), ahead=ahead))
    # At 200 the other engine has planned the iteration that begins, or the one behind it.
    assert found.finish.tolist() == [planned + 500, 900]


def test_with_copies_only_those_who_wait_go_elsewhere(run: Run) -> None:
    found = run(engines(2, failing((50, 0), replicated=True), (0, 2), (0, 2), (30, 1)))
    assert found.replica.tolist() == [0, 1, 1]
    assert found.first_token.tolist() == [180, 100, 200]


@pytest.mark.parametrize("ahead", [False, True])
def test_copies_go_with_the_neighbour_that_has_them(run: Run, ahead: bool) -> None:
    plan = failing((250, 0), (255, 1), replicated=True, neighbour=True, restore_block=3)
    found = run(engines(2, plan, (0, 5), (0, 4), ahead=ahead))
    # Engine 0 would get its two blocks from engine 1, which fails before; and engine 1 has its
    # copies on engine 0. Both had two tokens, and both begin anew: the first at 286, where
    # its restoring was to end, the other at 285, where there is nothing to restore.
    assert outages(found) == [[250, 0, 286], [255, 1, 285]]
    assert losses(found) == {
        "interrupted": 2,
        "prompts": 2,
        "prompt_tokens": 20,
        "output_tokens": 4,
        "rerouted": 1,
    }
    # What began anew at 255 on engine 0 went to engine 1 when that failure was known, at 260.
    assert found.replica.tolist() == [1, 1]
    assert found.finish.tolist() == [285 + 500, 285 + 400]
    assert found.retries is not None
    assert found.retries.tolist() == [1, 1]
    kept = run(engines(2, replace(plan, neighbour=False), (0, 5), (0, 4), ahead=ahead))
    assert losses(kept) == {"interrupted": 2}
    assert kept.finish.tolist() == [286 + 300, 291 + 200]


@pytest.mark.parametrize("ahead", [False, True])
def test_a_neighbour_that_is_back_has_copies_from_the_next_plan_on(run: Run, ahead: bool) -> None:
    plan = failing((120, 1), (170, 0), replicated=True, neighbour=True)
    # Engine 1 is back at 150, but the iteration of engine 0 from 100 on began without copies.
    found = run(engines(2, plan, (0, 5), ahead=ahead))
    assert losses(found)["output_tokens"] == 1
    assert found.finish.tolist() == [180 + 500]  # on engine 1, once the failure is known
    late = replace(plan, times=(120, 201))
    found = run(engines(2, late, (0, 5), ahead=ahead))
    assert losses(found) == {"interrupted": 1}
    assert found.finish.tolist() == [231 + 300]


def test_neighbours_that_fail_at_once_lose_both_copies(run: Run) -> None:
    plan = failing((150, 0), (150, 1), replicated=True, neighbour=True, reroute=False)
    found = run(engines(3, plan, (0, 2), (0, 2), (0, 2)))
    # Engine 2 is up, and has those of engine 1.
    assert found.retries is not None
    assert found.retries.tolist() == [1, 0, 0]
    assert found.finish.tolist() == [180 + 200, 180 + 100, 200]


def test_all_engines_may_be_down(run: Run) -> None:
    found = run(engines(2, failing((50, 0), (55, 1)), (0, 1), (0, 1), (70, 1)))
    # At 60 the first is known to be down, so its request goes to the second, which nobody
    # knows of; at 65 there is nowhere to go.
    assert outages(found) == [[50, 0, 80], [55, 1, 85]]
    assert found.replica.tolist() == [1, 1, 0]
    assert found.first_token.tolist() == [185, 185, 180]


def test_microbatches_of_one_engine_fail_together(run: Run) -> None:
    stages = Stages(1, (0, HALF, 2 * HALF))
    inputs = engines(2, failing((120, 0), replicated=True), (0, 3), (0, 3))
    found = run(replace(inputs, stages=stages))
    # From 150 on, both pass through again, the first from 150 and the other from 200.
    assert found.first_token.tolist() == [100, 300]
    assert found.finish.tolist() == [350, 500]
    assert found.stage_busy is not None
    assert found.stage_busy.tolist() == [[300, 300]]
    assert losses(found) == {"interrupted": 2}


def test_a_cache_is_empty_after_a_failure(run: Run) -> None:
    def cached(failures: Failures | None, tokens: int) -> list[int]:
        inputs = engines(1, failures, (0, 1), (500, 1))
        offsets, ids = np.array([0, 2, 4]), np.array([1, 2, 1, 2])
        load = replace(
            inputs.workload,
            input_tokens=np.full(2, tokens, np.int32),
            block_hashes=BlockHashes(offsets, ids, 10),
        )
        found = run(replace(inputs, workload=load, prefixes=find_prefixes(load, inputs.settings)))
        assert found.cached_tokens is not None
        return found.cached_tokens.tolist()

    assert cached(None, 25) == [0, 20]
    assert cached(failing((200, 0), replicated=True), 25) == [0, 20]
    assert cached(failing((200, 0)), 25) == [0, 0]


def test_failures_after_the_end_change_nothing(run: Run) -> None:
    calm, found = (run(engines(1, plan, (0, 3), (5, 4))) for plan in (None, failing((600, 0))))
    assert outages(found) == []
    assert calm.finish.tolist() == found.finish.tolist()
    assert (calm.outages, calm.losses, calm.retries) == (None, None, None)


def test_a_plan_has_ascending_times() -> None:
    with pytest.raises(ValueError, match="ascending"):
        Failures((5, 3), (0, 0), 1, 1)
    with pytest.raises(ValueError, match="negative"):
        Failures((5,), (0,), -1, 1)
