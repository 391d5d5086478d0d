"""Whole runs of lone requests, and values at the edges of the clock."""

from __future__ import annotations

import numpy as np
import pytest

from servetwin.cache.prompt_cache import PromptCache, PromptKeys
from servetwin.errors import InputError
from servetwin.results.metrics import compute
from servetwin.sim import SimOptions, closed_form, simulate
from servetwin.sim.closed_form import (
    ClosedFormOptions,
    Kavier,
    Servetwin,
    find_kavier_gpu,
    find_kavier_model,
    request_timeline,
    run_closed_form,
    token_column,
)
from servetwin.sim.closed_form.checks import exact_sum
from servetwin.types import Workload
from servetwin.units import NOT_YET, PS_PER_S
from support.closed_form import KAVIER, column, deployment, ours, workload


@pytest.mark.parametrize(
    "tokens", [[-1], [1, 10.9], [float("nan")], [float("inf")], [100_000_001], [2**62], ["7"],
               [True]]
)  # fmt: skip
def test_impossible_tokens_are_named(tokens):
    with pytest.raises(InputError, match="input_tokens") as error:
        token_column("input_tokens", tokens)
    assert "\n" not in str(error.value)


def test_token_columns_keep_what_is_right():
    assert token_column("x", [3.0, 0]).tolist() == [3, 0]
    assert token_column("x", []).size == 0
    with pytest.raises(InputError, match=r"request 1: 0 is not .* between 1 and"):
        token_column("x", [5, 0], least=1)


def test_requests_beyond_the_clock_are_named():
    with pytest.raises(InputError, match=r"request 1: .* 106 days"):
        KAVIER.decode(column(1, 1), column(1, 100_000), kv_cache=False)
    with pytest.raises(InputError, match="106 days"):
        Kavier(find_kavier_model("BLOOM-176B"), find_kavier_gpu("L4")).decode(
            column(1), column(100_000_000)
        )
    model = ours()
    with pytest.raises(InputError, match=r"request 1: .* 106 days"):
        model.decode(column(5, 100_000_000), column(5, 100_000_000))
    with pytest.raises(InputError, match=r"request 0: .* 5,000,001 tokens without KV cache"):
        model.decode(column(5_000_000), column(2), kv_cache=False)
    with pytest.raises(InputError, match=r"request 0: .* 106 days"):
        model.decode(column(1), column(1 << 22), kv_cache=False)


def test_sums_do_not_wrap_around():
    big = np.array([2**63 - 1] * 5 + [-3], np.int64)
    assert exact_sum(big) == 5 * (2**63 - 1) - 3


# runs


def test_a_run_adds_up():
    asked = workload((100, 10), (2000, 30), (100, 10))
    result = run_closed_form(asked, KAVIER)
    hour = 3600 * PS_PER_S
    assert result.prefill_hours == sum(KAVIER.prefill(column(100, 2000, 100)).tolist()) / hour
    assert result.simulated_s == pytest.approx((result.prefill_hours + result.decode_hours) * 3600)
    summary = result.summary()
    assert summary["input_tokens"] == 2200
    assert summary["hit_ratio"] == 0
    assert summary["simulated_over_real"] == pytest.approx(result.simulated_s / result.wall_s)


def keys(*key: int, shared: int = 50) -> PromptKeys:
    return PromptKeys(column(*key), shared)


@pytest.mark.parametrize("policy", ["none", "prefill", "full"])
def test_what_a_hit_skips(policy):
    asked = workload((100, 10), (200, 20), (40, 5))
    cache = PromptCache(min_tokens=50, policy=policy)
    options = ClosedFormOptions(prompt_cache=cache, prefix_keys=keys(7, 7, -1))
    plain = run_closed_form(asked, KAVIER).requests
    result = run_closed_form(asked, KAVIER, options)
    assert result.hit_ratio == (0 if policy == "none" else 1 / 3)
    expected = [plain.prefill[1], plain.decode[1]]
    if policy != "none":
        expected[0] = 0
    if policy == "full":
        expected[1] = 0
    assert [result.requests.prefill[1], result.requests.decode[1]] == expected
    for row in (0, 2):
        assert result.requests.prefill[row] == plain.prefill[row]
        assert result.requests.decode[row] == plain.decode[row]


def test_a_prefix_longer_than_its_prompt_is_named():
    options = ClosedFormOptions(prompt_cache=PromptCache(), prefix_keys=keys(1, 1))
    with pytest.raises(InputError, match=r"request 1: a prefix of 50 tokens .* prompt of 49"):
        run_closed_form(workload((100, 1), (49, 1)), KAVIER, options)
    with pytest.raises(InputError, match="2 of them for 1 requests"):
        run_closed_form(workload((100, 1)), KAVIER, options)


def test_follow_ups_arrive_as_in_the_simulator():
    target, cost = deployment()
    n = 6
    asked = Workload(
        arrival=np.array([0, NOT_YET, NOT_YET, 900 * PS_PER_S, NOT_YET, NOT_YET], np.int64),
        input_tokens=np.full(n, 300, np.int32),
        output_tokens=np.full(n, 20, np.int32),
        parent=np.array([-1, 0, 1, -1, 3, 4], np.int32),
        think_time=np.array([0, 0, 7 * PS_PER_S, 0, 1, 0], np.int64),
    )
    found = run_closed_form(asked, Servetwin(target, cost)).to_run_result().requests
    expected = simulate(target, asked, cost, SimOptions(snapshot_interval=0)).requests
    np.testing.assert_array_equal(found.arrival, expected.arrival)
    np.testing.assert_array_equal(found.finish, expected.finish)


def test_a_run_result_has_metrics_and_cached_tokens():
    asked = workload((100, 10), (200, 20))
    options = ClosedFormOptions(prompt_cache=PromptCache(min_tokens=50), prefix_keys=keys(1, 1))
    result = run_closed_form(asked, ours(), options).to_run_result()
    assert result.requests.cached_tokens.tolist() == [0, 50]
    assert result.config["prefix_cache_min_tokens"] == 50
    assert compute(result)["completed"] == 2
    assert compute(result)["queue_ms"]["max"] == 0


def test_requests_that_no_engine_would_take_are_counted():
    two, one = (
        run_closed_form(workload((9000, 1), (10, 1), (last, 1)), ours()).notes[-1]
        for last in (8192, 10)
    )
    rest = "with more than the 8,192 tokens that the model or its KV cache can hold"
    assert two == f"2 requests {rest}: an engine would reject them"
    assert one == f"1 request {rest}: an engine would reject it"


def test_a_timeline_holds_cache_and_utilisation():
    timeline = request_timeline(KAVIER, 1000, 100, 0.1)
    assert timeline.tokens[0] == 0
    assert np.all(np.diff(timeline.tokens) > 0)
    assert timeline.tokens[-1] < 1100
    np.testing.assert_allclose(timeline.kv_bytes, timeline.tokens * KAVIER.cache.token)
    np.testing.assert_allclose(timeline.kv_share, timeline.kv_bytes / 24e9)
    assert timeline.gpu_utilisation.tolist()[:3] == [0.5, 0.5, 0.95]
    assert timeline.gpu_utilisation[-1] == 0.5
    assert request_timeline(KAVIER, 1000, 100, 0.1, kv_cache=False).kv_bytes.max() == 0


def test_exports_exist():
    assert all(hasattr(closed_form, name) for name in closed_form.__all__)
