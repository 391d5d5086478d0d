from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servetwin.errors import InputError
from servetwin.types import Workload
from servetwin.types.workload import MAX_TOKENS
from servetwin.units import NOT_YET, PS_PER_S
from servetwin.workload import summarize
from servetwin.workload.arrivals import CHUNK, AtOnce, ClosedLoop, OpenLoop, Replay, Think
from servetwin.workload.fit import rank_correlation
from servetwin.workload.generate import MAX_REQUESTS, GeneratorSpec, Sessions, generate
from servetwin.workload.lengths import Fixed, Lognormal, Uniform, Zipf

SPEC = GeneratorSpec(2000, Uniform(1, 1000), Uniform(1, 300), OpenLoop(4.0), seed=3)


def same(first: Workload, second: Workload, *columns: str) -> bool:
    names = columns or ("arrival", "input_tokens", "output_tokens")
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in names)


@given(st.integers(0, 2**64), st.integers(1, 300), st.floats(-1.0, 1.0))
def test_a_seed_repeats_its_workload(seed: int, n: int, rho: float) -> None:
    spec = replace(SPEC, seed=seed, requests=n, rank_correlation=rho)
    made = generate(spec)
    assert len(made) == n
    assert made.input_tokens.dtype == made.output_tokens.dtype == np.int32
    assert same(made, generate(spec))


def test_other_seeds_give_other_workloads() -> None:
    made, other = generate(SPEC), generate(replace(SPEC, seed=4))
    for column in ("arrival", "input_tokens", "output_tokens"):
        assert not same(made, other, column)


def test_a_known_seed_gives_these_requests() -> None:
    # A change here changes every published run that names a seed.
    made = generate(replace(SPEC, requests=4, seed=0))
    assert made.input_tokens.tolist() == [943, 317, 723, 126]
    assert made.output_tokens.tolist() == [204, 73, 184, 127]
    assert made.arrival.tolist() == [0, 204175444829, 240660926616, 442004800069]


@pytest.mark.parametrize("rho", [0.0, 0.6])
def test_each_column_has_a_stream_of_its_own(rho: float) -> None:
    spec = replace(SPEC, rank_correlation=rho)
    made = generate(spec)
    other_input = generate(replace(spec, input=Lognormal(500.0, 1.0)))
    other_output = generate(replace(spec, output=Zipf(1.1, 4000)))
    other_arrivals = generate(replace(spec, arrivals=ClosedLoop(8, Think(1.0, True))))
    assert same(made, other_input, "output_tokens", "arrival")
    assert same(made, other_output, "input_tokens", "arrival")
    assert same(made, other_arrivals, "input_tokens", "output_tokens")
    assert same(made, generate(replace(SPEC, rank_correlation=-0.9)), "input_tokens", "arrival")


def test_a_longer_workload_begins_like_a_shorter_one() -> None:
    short = generate(replace(SPEC, requests=CHUNK + 10, rank_correlation=0.3))
    long = generate(replace(SPEC, requests=CHUNK + 1000, rank_correlation=0.3))
    for column in ("arrival", "input_tokens", "output_tokens"):
        assert np.array_equal(getattr(short, column), getattr(long, column)[: len(short)])


def test_fixed_lengths_add_up() -> None:
    made = generate(GeneratorSpec(1000, Fixed(512), Fixed(64), AtOnce()))
    assert int(made.input_tokens.sum()) == 512_000
    assert int(made.output_tokens.sum()) == 64_000
    assert made.span_ps == 0


@pytest.mark.parametrize("rho", [-0.9, -0.2, 0.5, 1.0])
def test_input_and_output_have_their_rank_correlation(rho: float) -> None:
    made = generate(replace(SPEC, requests=100_000, rank_correlation=rho))
    assert rank_correlation(made.input_tokens, made.output_tokens) == pytest.approx(rho, abs=0.01)


def test_correlation_leaves_the_distributions() -> None:
    for rho in (-1.0, 0.7, 1.0):
        made = generate(replace(SPEC, requests=100_000, rank_correlation=rho))
        assert made.output_tokens.mean() == pytest.approx(150.5, rel=0.01)
        assert (made.output_tokens.min(), made.output_tokens.max()) == (1, 300)


def test_one_request() -> None:
    for arrivals in (OpenLoop(1e-7), AtOnce(), ClosedLoop(32), Replay(generate(SPEC))):
        made = generate(replace(SPEC, requests=1, arrivals=arrivals))
        assert made.arrival.tolist() == [0]


@given(st.integers(1, 300), st.integers(1, 12), st.integers(0, 1000))
def test_a_turn_repeats_what_was_said_before(n: int, most_turns: int, seed: int) -> None:
    sessions = Sessions(Uniform(1, most_turns), Think(2.0))
    spec = replace(SPEC, requests=n, seed=seed, sessions=sessions)
    made, alone = generate(spec), generate(replace(spec, sessions=None))
    assert made.session_id is not None
    assert made.parent is not None
    assert made.think_time is not None
    assert same(made, alone, "output_tokens")
    for i in range(n):
        follows = i > 0 and made.session_id[i] == made.session_id[i - 1]
        assert made.parent[i] == (i - 1 if follows else -1)
        assert made.think_time[i] == (2 * PS_PER_S if follows else 0)
        assert (made.arrival[i] == NOT_YET) == follows
        before = int(made.input_tokens[i - 1] + made.output_tokens[i - 1]) if follows else 0
        assert made.input_tokens[i] == alone.input_tokens[i] + before
    assert np.bincount(made.session_id).max() <= most_turns
    assert np.array_equal(np.unique(made.session_id), np.arange(made.session_id[-1] + 1))


def test_sessions_of_one_turn_are_plain_requests() -> None:
    made = generate(replace(SPEC, sessions=Sessions(Fixed(1), Think())))
    assert same(made, generate(SPEC))


def test_a_session_loses_its_oldest_history_at_max_input() -> None:
    sessions = Sessions(Fixed(5), Think(), max_input=250)
    made = generate(GeneratorSpec(5, Fixed(100), Fixed(20), OpenLoop(1.0), sessions=sessions))
    assert made.input_tokens.tolist() == [100, 220, 250, 250, 250]


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (lambda: replace(SPEC, requests=0), "requests 0"),
        (lambda: replace(SPEC, requests=MAX_REQUESTS + 1), "requests 200000001"),
        (lambda: replace(SPEC, seed=-1), "seed -1"),
        (lambda: replace(SPEC, rank_correlation=1.5), "rank correlation"),
        (lambda: Sessions(Fixed(2), Think(), max_input=MAX_TOKENS + 1), "max_input"),
        (
            lambda: replace(SPEC, arrivals=ClosedLoop(2), sessions=Sessions(Fixed(2), Think(1.0))),
            "open-loop",
        ),
    ],
)
def test_impossible_specs_are_refused_in_one_line(make: object, part: str) -> None:
    assert callable(make)
    with pytest.raises(InputError, match=part):
        make()


def test_a_trace_is_one_whatever_its_name() -> None:
    made = generate(GeneratorSpec(3, Fixed(5), Fixed(2), AtOnce()))
    assert summarize(made)["type"] == "generated"
    assert summarize(replace(made, source="generated.csv"))["type"] == "trace"
