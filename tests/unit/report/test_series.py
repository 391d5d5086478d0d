"""The reductions behind the charts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servetwin.report import series
from servetwin.types import Timeline
from servetwin.units import PS_PER_S
from support.runs import Shape, request_table, synthetic_run


@given(st.lists(st.integers(0, 10**15), min_size=1, max_size=900))
def test_a_cdf_point_counts_the_requests_at_most_that_long(values: list[int]) -> None:
    n = len(values)
    table = request_table(arrival=[0] * n, first_token=values, finish=values)
    x, share = series.cdf(table, "ttft")
    seconds = np.array(values) / PS_PER_S
    assert x.size <= 400
    assert np.all(np.diff(x) > 0)
    expected = [np.count_nonzero(seconds <= value) / n for value in x]
    if n <= 300:
        assert share.tolist() == expected
    else:
        assert np.all(share <= expected)
    assert x.size == 0 or (x[-1] == seconds.max() and share[-1] == 1)


def test_latencies_over_time_belong_to_the_bin_of_their_arrival() -> None:
    n = 4000
    arrival = np.arange(n) * PS_PER_S // 100
    ttft = np.where(arrival < 20 * PS_PER_S, 1, 3) * PS_PER_S
    table = request_table(arrival=arrival, first_token=arrival + ttft, finish=arrival + ttft)
    order = np.random.default_rng(0).permutation(n)
    table = request_table(
        arrival=arrival[order],
        first_token=(arrival + ttft)[order],
        finish=(arrival + ttft)[order],
    )
    found = series.latency_over_time(table, "ttft", bins=10)
    assert found["t"].tolist() == pytest.approx([2 + 4 * b for b in range(10)], rel=0.01)
    assert found["p50"].tolist() == [1] * 5 + [3] * 5
    assert found["p99"].tolist() == [1] * 5 + [3] * 5


@pytest.mark.parametrize("requests", [1, 2, 24, 26, 5000])
def test_points_are_few_however_many_requests(requests: int) -> None:
    table = synthetic_run(Shape(requests=requests, rejected=0)).requests
    for name in ("ttft", "tpot", "queue", "e2e"):
        over_time = series.latency_over_time(table, name)
        assert len(over_time["t"]) == len(over_time["p99"]) <= series.BINS
        assert np.all(over_time["p50"] <= over_time["p99"])
        assert np.all(np.diff(over_time["t"]) > 0)


def timeline(times: int, replicas: int) -> Timeline:
    n = times * replicas
    ones = np.ones(n, np.int64)
    replica = np.tile(np.arange(replicas, dtype=np.int32), times)
    return Timeline(
        t=np.repeat(np.arange(1, times + 1), replicas) * PS_PER_S // 2,
        replica=replica,
        running=(ones * 3).astype(np.int32),
        waiting=replica,
        kv_blocks=replica.astype(np.int64) * 10,
        prefill_tokens=ones * 100,
        decode_tokens=ones * 7,
        interval=PS_PER_S // 2,
    )


@pytest.mark.parametrize("times", [1, 7, 160, 161, 1000])
def test_states_are_summed_over_replicas_and_averaged_over_bins(times: int) -> None:
    found = series.states(timeline(times, 3))
    assert found.t.size <= series.BINS
    assert found.t.mean() == pytest.approx((times + 1) / 4, rel=0.05)
    assert set(found.running) == {9.0}
    assert set(found.waiting) == {3.0}
    assert set(found.kv_blocks) == {30.0}
    assert set(found.kv_blocks_fullest) == {20.0}
    assert set(found.prefill_rate) == {600.0}
    assert set(found.decode_rate) == {42.0}
    assert found.replicas == 3


def test_an_empty_timeline_has_no_states() -> None:
    assert series.states(timeline(0, 3)).t.size == 0


def test_requests_in_flight_have_arrived_and_not_finished() -> None:
    table = request_table(
        arrival=np.array([0, 10, 20]) * PS_PER_S,
        first_token=np.array([1, 11, 21]) * PS_PER_S,
        finish=np.array([40, 12, 40]) * PS_PER_S,
    )
    t, count = series.in_flight(table, bins=41)
    assert t.tolist() == list(range(41))
    assert count.tolist() == [1] * 10 + [2, 2] + [1] * 8 + [2] * 20 + [0]
