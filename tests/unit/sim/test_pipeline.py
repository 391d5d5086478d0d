"""DéjàVu's two simulators: the published outputs, a second loop, and cases worked by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from servetwin.errors import InputError
from servetwin.sim.pipeline import (
    Failures,
    Load,
    Pipeline,
    Ring,
    Split,
    grouped_arrivals,
    run_pipeline,
)
from support.dejavu_loop import baseline_us, disaggregated_us

CASES = (
    "b01_N1_closed",
    "b02_N4_closed",
    "b04_N4_rps2",
    "b08_N4_injected_arrivals",
    "d01_P1T1_defaults",
    "d02_P1T3_closed_c0",
    "d03_P2T2_c15",
    "d08_P2T2_injected_arrivals",
)


def published(data_dir: Path, name: str) -> dict[str, Any]:
    path = data_dir / "reference" / "dejavu" / f"{name}.json"
    if not path.exists():
        pytest.skip(f"{path.name} is not there")
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def pipeline_of(case: dict[str, Any]) -> Pipeline:
    given = case["params"]
    prompt, token = given["prompt_time"] * 1000, given["token_time"] * 1000
    if case["simulator"] == "baseline":
        return Ring(given["num_machines"], prompt, token)
    cache = given["cache_time"] * 1000
    return Split(given["num_prompt_machines"], given["num_token_machines"], prompt, token, cache)


def load_of(case: dict[str, Any]) -> Load:
    return Load(np.array(case["tokens_after_clamp"]), np.array(case["arrival_us"], float))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("kernel", [True, False])
def test_the_original_is_met_to_the_last_bit(data_dir: Path, name: str, kernel: bool) -> None:
    case = published(data_dir, name)
    run = run_pipeline(pipeline_of(case), load_of(case), "original", kernel=kernel)
    assert run.completion_us.tolist() == case["completion_us"]
    latency = run.latency_s_per_token
    found = {"median": np.median(latency), "max": latency.max(), "min": latency.min()}
    assert found == case["norm_lat_s_per_token"]
    assert run.makespan_us / 1e6 == case["makespan_s"]
    if case["early_stops"] is not None:
        assert run.early_stops == case["early_stops"]


@pytest.mark.parametrize("name", CASES)
def test_arrivals_are_drawn_as_the_original_draws_them(data_dir: Path, name: str) -> None:
    case = published(data_dir, name)
    if "injected" in case["arrival_mode"]:
        pytest.skip("the arrivals of this case were given")
    pipeline = pipeline_of(case)
    drawn = grouped_arrivals(len(case["arrival_us"]), case["params"]["rps"], pipeline.machines)
    assert drawn.tolist() == case["arrival_us"]


@pytest.mark.parametrize("name", CASES)
def test_the_causal_figures_are_met(data_dir: Path, name: str) -> None:
    figures = {row["case"]: row for row in published(data_dir, "causal_vs_original")}
    case, known = published(data_dir, name), figures[name]
    load = load_of(case)
    causal, original = (
        run_pipeline(pipeline_of(case), load, semantics) for semantics in ("causal", "original")
    )
    latency = (causal.completion_us - load.arrival_us) / 1e6
    assert causal.makespan_us / 1e6 == known["makespan_causal"]
    assert latency.mean() == pytest.approx(known["mean_lat_causal"], rel=1e-13)
    # The upper of the two middle values of 256.
    assert np.sort(latency)[128] == pytest.approx(known["p50_causal"], rel=1e-13)
    difference = np.abs(causal.completion_us - original.completion_us).max() / 1e6
    assert difference == pytest.approx(known["max_req_diff_s"], abs=1e-9)


@pytest.mark.parametrize("seed", range(40))
def test_the_original_equals_a_loop_written_apart(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(12, 90))
    rounds = np.clip(rng.integers(0, 1100, count) // rng.choice([1, 20, 200]), 2, 1000)
    prompt, token, cache = (rng.uniform(0, 300) * 1000, rng.uniform(0, 60) * 1000, 7.3e3)
    stages, prompts = int(rng.integers(1, 12)), int(rng.integers(1, 5))
    rps = float(rng.choice([0.0, 0.3, 2.0, 50.0]))
    for group, pipeline in (
        (stages, Ring(stages, prompt, token)),
        (stages + prompts, Split(prompts, stages, prompt, token, cache)),
    ):
        arrivals = grouped_arrivals(count, rps, group)
        run = run_pipeline(pipeline, Load(rounds, arrivals), "original")
        if isinstance(pipeline, Ring):
            ends, stops = baseline_us(rounds.tolist(), arrivals.tolist(), (stages, prompt, token))
            assert run.early_stops == stops
        else:
            times = (prompt, token, cache)
            ends = disaggregated_us(rounds.tolist(), arrivals.tolist(), (prompts, stages), times)
        assert run.completion_us.tolist() == ends


@pytest.mark.parametrize(("requests", "group"), [(10, 4), (7, 3), (3, 8), (12, 4), (5, 1)])
def test_leftovers_of_groups_arrive_at_zero(requests: int, group: int) -> None:
    arrivals = grouped_arrivals(requests, 2.0, group)
    full = requests // group * group
    np.random.seed(42)
    gaps = [gap * 1000000 for gap in np.random.exponential(scale=1 / 2.0, size=requests)]
    start, expected = 0.0, [0.0] * requests
    for number in range(requests // group):
        expected[number * group : (number + 1) * group] = [start] * group
        start += gaps[number]
    assert arrivals.tolist() == expected
    assert not arrivals[full:].any()


class TestByHand:
    """Two stages, prompts of 10 µs, tokens of 2 µs."""

    ring = Ring(2, 10.0, 2.0)

    def test_one_request_alone(self) -> None:
        run = run_pipeline(self.ring, Load(np.array([3]), np.array([5.0])))
        # 5 + 2 stages x 10, then 3 rounds of 2 stages x 2.
        assert run.begin.tolist() == [5_000_000]
        assert run.first_token.tolist() == [29_000_000]
        assert run.completion.tolist() == [37_000_000]
        assert run.utilisation().tolist() == pytest.approx([16 / 37] * 2)

    def test_a_request_comes_when_a_place_is_free_and_it_has_arrived(self) -> None:
        load = Load(np.array([1, 1, 1]), np.array([0.0, 0.0, 100.0]))
        run = run_pipeline(self.ring, load)
        # The first token waits for the second prompt to leave the second stage, until 30.
        assert run.begin.tolist() == [0, 10_000_000, 100_000_000]
        assert run.completion.tolist() == [32_000_000, 34_000_000, 124_000_000]

    def test_the_original_lets_work_wait_for_what_has_yet_to_arrive(self) -> None:
        load = Load(np.array([1, 9, 1]), np.array([0.0, 0.0, 1000.0]))
        original = run_pipeline(self.ring, load, "original").completion_us
        causal = run_pipeline(self.ring, load, "causal").completion_us
        assert causal.tolist() == [32.0, 66.0, 1024.0]
        assert original[1] > 1000

    def test_prompts_wait_where_too_many_are_ahead_of_the_ring(self) -> None:
        load = Load(np.array([10, 1, 1]), np.zeros(3))
        free = run_pipeline(Split(1, 1, 1.0, 2.0), load)
        tight = run_pipeline(Split(1, 1, 1.0, 2.0, waiting=1), load)
        assert free.begin.tolist() == [0, 1_000_000, 2_000_000]
        # The third begins when the second takes its place: after 1 + 10 x 2 µs.
        assert tight.begin.tolist() == [0, 1_000_000, 21_000_000]
        assert tight.completion.tolist() == free.completion.tolist()

    def test_a_shared_link_carries_one_cache_at_a_time(self) -> None:
        load = Load(np.array([1, 1]), np.zeros(2))
        run = run_pipeline(Split(1, 2, 1.0, 2.0, 5.0, shared_link=True), load)
        assert run.transfer.tolist() == [5_000_000, 9_000_000]


class TestFailures:
    """Two stages, prompts of 10 µs, tokens of 2 µs; the ring stands still for 100 µs."""

    load = Load(np.array([5]), np.zeros(1))

    def fail(self, at: float, replicated: bool, lag: int = 1) -> tuple[int, tuple[int, ...]]:
        failures = Failures((at,), 100.0, replicated, lag)
        run = run_pipeline(Ring(2, 10.0, 2.0), self.load, failures=failures)
        return int(run.completion[0]) // 1_000_000, run.lost

    def test_without_any_it_takes_a_prompt_and_five_rounds(self) -> None:
        assert run_pipeline(Ring(2, 10.0, 2.0), self.load).makespan_us == 20 + 5 * 4

    def test_with_replicas_the_round_and_the_lag_are_done_again(self) -> None:
        # At 30 two rounds are complete and the third is under way.
        assert self.fail(30.0, True) == (130 + 4 * 4, (0, 1, 1))
        assert self.fail(30.0, True, lag=0) == (130 + 3 * 4, (0, 0, 1))
        assert self.fail(30.0, True, lag=9) == (130 + 5 * 4, (0, 2, 1))

    def test_without_replicas_the_prompt_too(self) -> None:
        assert self.fail(30.0, False) == (130 + 20 + 5 * 4, (1, 2, 1))

    def test_in_the_prompt_both_are_alike(self) -> None:
        assert self.fail(15.0, True) == self.fail(15.0, False) == (115 + 20 + 5 * 4, (0, 0, 1))

    def test_what_ends_with_the_failure_has_ended(self) -> None:
        assert self.fail(40.0, False) == (40, (0, 0, 0))


class TestBadInput:
    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: Ring(0, 1.0, 1.0), "--num_machines 0: must lie between 1 and 4,096"),
            (lambda: Ring(2, -1.0, 1.0), "--prompt_time -0.001: must be a time in ms, 0 or more"),
            (lambda: Split(1, 1, 1.0, 1.0, -5.0), "--cache_time -0.005: must be a time"),
            (lambda: Split(1, 0, 1.0, 1.0), "--num_token_machines 0: must lie"),
            (lambda: Ring(2, float("nan"), 1.0), "--prompt_time nan: must be a time"),
            (lambda: Ring(4096, 1e8, 1.0), "all stages together must take at most 6 hours"),
            (lambda: Load(np.zeros(0, int), np.zeros(0)), "the trace is empty"),
            (lambda: Load(np.array([2]), np.zeros(2)), "2 arrivals for 1 requests"),
            (lambda: Load(np.array([2]), np.array([-1.0])), "arrival 1, -1 µs: must lie"),
            (lambda: grouped_arrivals(3, -1.0), "--rps -1: must be a rate"),
        ],
    )
    def test_is_told_in_one_line(self, make: Any, message: str) -> None:
        with pytest.raises(InputError) as told:
            make()
        assert message in str(told.value)

    def test_causal_times_are_above_zero(self) -> None:
        with pytest.raises(InputError, match="--token_time 0: must be above 0 ms"):
            run_pipeline(Ring(1, 1.0, 0.0), Load(np.array([2]), np.zeros(1)))

    def test_the_original_knows_no_shared_link(self) -> None:
        split = Split(1, 1, 1.0, 1.0, shared_link=True)
        with pytest.raises(InputError, match="leave these options away"):
            run_pipeline(split, Load(np.array([2]), np.zeros(1)), "original")

    def test_a_run_beyond_the_clock(self) -> None:
        load = Load(np.full(2, 500), np.zeros(2))
        for semantics in ("causal", "original"):
            with pytest.raises(InputError, match="106 days"):
                run_pipeline(Ring(1, 2e10, 2e10), load, semantics)
