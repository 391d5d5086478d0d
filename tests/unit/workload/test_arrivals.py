from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servetwin.errors import InputError
from servetwin.types import Workload
from servetwin.units import MAX_TIME_PS, NOT_YET, PS_PER_MS, PS_PER_S
from servetwin.workload.arrivals import (
    CHUNK,
    Arrivals,
    AtOnce,
    ClosedLoop,
    GammaGaps,
    GapTable,
    OpenLoop,
    Replay,
    Schedule,
    Think,
    schedule,
    with_rate,
)
from servetwin.workload.rates import Bursts, Diurnal, Drift, Flat, Shape

MANY = 200_000


def drawn(arrivals: Arrivals, n: int, seed: int = 0) -> Schedule:
    return schedule(arrivals, n, np.random.default_rng(seed))


def seconds(arrivals: Arrivals, n: int = MANY) -> np.ndarray:
    return drawn(arrivals, n).arrival / PS_PER_S


durations = st.floats(0.001, 1e5)
shapes: st.SearchStrategy[Shape] = st.one_of(
    st.just(Flat()),
    st.builds(Bursts, st.floats(1.0, 1e4), durations, durations),
    st.builds(Diurnal, durations, st.floats(0.0, 0.999)),
    st.builds(Drift, st.just(0.0) | st.floats(1e-6, 10.0), st.floats(0.1, 1e5)),
)
gaps = st.one_of(
    st.builds(GammaGaps, st.just(0.0) | st.floats(1e-6, 100.0)),
    st.just(GapTable((0.0, 0.1, 30.0), (0.0, 0.9, 1.0))),
)


@given(st.floats(0.01, 1e9), gaps, shapes, st.floats(0.0, 5.0), st.integers(1, 500), st.integers(0))
def test_open_loops_start_at_0_and_never_go_back(
    rate: float, gaps: GammaGaps | GapTable, shape: Shape, tick: float, n: int, seed: int
) -> None:
    arrival = drawn(OpenLoop(rate, gaps, shape, tick), n, seed).arrival
    assert arrival.dtype == np.int64
    assert arrival.shape == (n,)
    assert arrival[0] == 0
    assert np.all(np.diff(arrival) >= 0)
    assert arrival[-1] <= MAX_TIME_PS


def test_constant_arrivals_are_exact() -> None:
    arrival = drawn(OpenLoop(8.0, GammaGaps(0.0)), MANY).arrival
    assert np.array_equal(arrival, np.arange(MANY) * (PS_PER_S // 8))


@pytest.mark.parametrize("cv", [0.25, 1.0, 2.0, 5.0])
def test_gamma_gaps_have_their_rate_and_cv(cv: float) -> None:
    gap = np.diff(seconds(OpenLoop(50.0, GammaGaps(cv))))
    # Five standard errors of the mean; the error of the CV grows with the kurtosis.
    assert gap.mean() == pytest.approx(0.02, rel=5 * cv / MANY**0.5)
    assert gap.std() / gap.mean() == pytest.approx(cv, rel=0.04)


def test_poisson_counts_have_dispersion_1() -> None:
    counts = np.bincount(seconds(OpenLoop(50.0)).astype(int))[:-1]
    assert counts.var() / counts.mean() == pytest.approx(1.0, rel=0.1)


def test_gaps_from_a_table_keep_its_distribution_at_any_rate() -> None:
    table = GapTable((0.0, 1.0, 7.0), (0.0, 0.5, 1.0))
    mean = 0.5 * 0.5 + 0.5 * 4.0
    gap = np.diff(seconds(OpenLoop(10.0, table)))
    assert gap.mean() == pytest.approx(0.1, rel=0.01)
    assert np.mean(gap <= 0.1 / mean) == pytest.approx(0.5, abs=0.005)
    assert gap.max() <= 0.7 / mean + 1e-9


def test_bursts_have_their_factor_and_leave_the_mean_rate() -> None:
    times = seconds(OpenLoop(100.0, GammaGaps(0.0), Bursts(factor=10.0, on=5.0, off=15.0)))
    assert times[-1] == pytest.approx(MANY / 100.0, abs=0.1)
    in_burst = np.mean(times % 20.0 >= 15.0)
    assert in_burst == pytest.approx(10 * 5 / (10 * 5 + 15), abs=1e-3)
    assert np.mean(times[times % 20.0 < 15.0] % 20.0) == pytest.approx(7.5, abs=0.02)


def test_diurnal_follows_its_cumulative_rate_to_the_nanosecond() -> None:
    shape = Diurnal(period=100.0, amplitude=0.9)
    times = seconds(OpenLoop(50.0, GammaGaps(0.0), shape))
    phase = 2.0 * np.pi * times / 100.0
    expected = 50.0 * (times + 0.9 * 100.0 / (2.0 * np.pi) * (1.0 - np.cos(phase)))
    assert np.abs(expected - np.arange(MANY)).max() < 1e-6


def test_drift_keeps_the_mean_rate_and_moves_the_counts() -> None:
    times = seconds(OpenLoop(100.0, shape=Drift(sd=0.3, hold=10.0)))
    assert (MANY - 1) / times[-1] == pytest.approx(100.0, rel=0.01)
    levels = np.bincount((times // 10.0).astype(int))[:-1] / 1000.0
    assert levels.std() == pytest.approx(0.3, rel=0.2)


def test_tick_rounds_down_without_changing_the_process() -> None:
    fine = drawn(OpenLoop(3.0), 1000).arrival
    coarse = drawn(OpenLoop(3.0, tick=3.0), 1000).arrival
    assert np.array_equal(coarse, fine // (3 * PS_PER_S) * (3 * PS_PER_S))


def test_a_longer_workload_begins_like_a_shorter_one() -> None:
    n = CHUNK + 1000
    long = drawn(OpenLoop(5.0, GammaGaps(2.0)), n + CHUNK).arrival
    assert np.array_equal(drawn(OpenLoop(5.0, GammaGaps(2.0)), n).arrival, long[:n])


def test_another_rate_stretches_the_whole_process() -> None:
    slow = OpenLoop(2.0, GammaGaps(2.0), Bursts(5.0, on=4.0, off=8.0), tick=1.0)
    fast = with_rate(slow, 8.0)
    assert fast == OpenLoop(8.0, GammaGaps(2.0), Bursts(5.0, on=1.0, off=2.0), tick=0.25)
    assert np.array_equal(drawn(slow, 3000).arrival, 4 * drawn(fast, 3000).arrival)


def test_a_process_is_not_stretched_beyond_its_bounds() -> None:
    slow = OpenLoop(2.0, shape=Bursts(5.0, on=4.0, off=8.0))
    with pytest.raises(InputError, match=r"^rate 1e-06: too far from the 2 requests per second"):
        with_rate(slow, 1e-6)


def test_all_at_once() -> None:
    assert drawn(AtOnce(), 5).arrival.tolist() == [0] * 5


@given(st.integers(1, 50), st.integers(1, 200), st.booleans())
def test_each_closed_loop_user_waits_for_the_answer_before(
    concurrency: int, n: int, exponential: bool
) -> None:
    columns = drawn(ClosedLoop(concurrency, Think(0.5, exponential)), n)
    assert columns.parent is not None
    assert columns.think_time is not None
    for i in range(n):
        first = i < concurrency
        assert columns.parent[i] == (-1 if first else i - concurrency)
        assert columns.arrival[i] == (0 if first else NOT_YET)
        if first:
            assert columns.think_time[i] == 0
        elif not exponential:
            assert columns.think_time[i] == 500 * PS_PER_MS
    Workload(
        columns.arrival,
        np.ones(n, np.int32),
        np.ones(n, np.int32),
        parent=columns.parent,
        think_time=columns.think_time,
    )


def test_exponential_think_times_have_their_mean() -> None:
    think = drawn(ClosedLoop(1, Think(2.0, exponential=True)), MANY).think_time
    assert think is not None
    assert think[1:].mean() / PS_PER_S == pytest.approx(2.0, rel=0.02)
    assert think[1:].std() / think[1:].mean() == pytest.approx(1.0, rel=0.02)


def trace(arrival: list[int], **columns: object) -> Workload:
    ones = np.ones(len(arrival), dtype=np.int32)
    return Workload(np.array(arrival, dtype=np.int64), ones, ones, name="t", **columns)  # type: ignore[arg-type]


def test_replay_starts_over_one_mean_gap_after_the_end() -> None:
    arrival = drawn(Replay(trace([100, 110, 140])), 8).arrival
    assert arrival.tolist() == [0, 10, 40, 60, 70, 100, 120, 130]


def test_replay_of_a_closed_loop_keeps_parents_and_cannot_start_over() -> None:
    source = trace(
        [7, NOT_YET, 9],
        parent=np.array([-1, 0, -1], dtype=np.int32),
        think_time=np.array([0, 5, 0], dtype=np.int64),
    )
    columns = drawn(Replay(source), 2)
    assert columns.parent is not None
    assert columns.think_time is not None
    assert columns.parent.tolist() == [-1, 0]
    assert columns.think_time.tolist() == [0, 5]
    with pytest.raises(
        InputError, match="cannot start over: ask for at most its 3 requests, not 4"
    ):
        drawn(Replay(source), 4)


def test_extreme_rates() -> None:
    assert drawn(OpenLoop(1e9), 1000).arrival[-1] < 2 * 10**6
    assert drawn(OpenLoop(1e-7), 1).arrival.tolist() == [0]
    for gap in (GammaGaps(0.0), GammaGaps(1.0), GammaGaps(3.0)):
        with pytest.raises(InputError, match=r"beyond the 90 days.*raise the rate"):
            drawn(OpenLoop(1e-7, gap), 100)
    with pytest.raises(InputError, match="beyond the 90 days"):
        drawn(Replay(trace([0, MAX_TIME_PS])), 3)


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (lambda: OpenLoop(0.0), "rate 0"),
        (lambda: OpenLoop(-1.0), "rate -1"),
        (lambda: OpenLoop(float("nan")), "rate nan"),
        (lambda: OpenLoop(2e9), "and 1e.09"),
        (lambda: OpenLoop(1.0, tick=-1.0), "tick"),
        (lambda: GammaGaps(-0.1), "cv"),
        (lambda: GammaGaps(101.0), "cv"),
        (lambda: GammaGaps(1e-200), "cv"),
        (lambda: GapTable((0.0, 0.0), (0.0, 1.0)), "positive"),
        (lambda: GapTable((0.0, 1.0), (0.0, 0.5)), "from 0 to 1"),
        (lambda: GapTable((0.0, 2.0, 1.0), (0.0, 0.5, 1.0)), "fall"),
        (lambda: ClosedLoop(0), "concurrency 0"),
        (lambda: Think(-1.0), "think time"),
        (lambda: Bursts(0.5, 1.0, 1.0), "factor"),
        (lambda: Bursts(2.0, 0.0, 1.0), "bursts on"),
        (lambda: Diurnal(100.0, 1.0), "amplitude"),
        (lambda: Diurnal(float("inf")), "period"),
        (lambda: Drift(-1.0, 1.0), "sd"),
        (lambda: drawn(OpenLoop(1.0, shape=Drift(0.1, 1e-6)), 1000), "too short"),
    ],
)
def test_impossible_arrivals_are_refused_in_one_line(make: object, part: str) -> None:
    assert callable(make)
    with pytest.raises(InputError, match=part):
        make()
