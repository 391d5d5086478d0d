"""The kernels of pipelines equal their references in every time of every request."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servetwin.sim.pipeline import (
    Failures,
    Load,
    Pipeline,
    PipelineRun,
    Ring,
    Split,
    grouped_arrivals,
    run_pipeline,
)

TIMES = ("begin", "first_token", "completion", "transfer", "completion_us")

prompt_us = st.sampled_from([0.37, 1.0, 3.0, 7.5, 20.0])
token_us = st.sampled_from([0.11, 1.0, 2.0, 3.3, 50.0])


def same(pipeline: Pipeline, load: Load, semantics: str) -> PipelineRun:
    fast = run_pipeline(pipeline, load, semantics)
    slow = run_pipeline(pipeline, load, semantics, kernel=False)
    for name in TIMES:
        assert np.array_equal(getattr(fast, name), getattr(slow, name)), name
    assert fast.early_stops == slow.early_stops
    return fast


@st.composite
def loads(draw: st.DrawFn) -> Load:
    count = draw(st.integers(1, 40))
    most = draw(st.sampled_from([1, 3, 10, 200]))
    seed = draw(st.integers(0, 2**31))
    rng = np.random.default_rng(seed)
    rounds = rng.integers(1, most + 1, count)
    kind = draw(st.sampled_from(["closed", "sorted", "unsorted", "grouped"]))
    if kind == "closed":
        arrivals = np.zeros(count)
    elif kind == "grouped":
        rate = draw(st.sampled_from([10.0, 1e3, 3e4]))
        arrivals = grouped_arrivals(count, rate, draw(st.integers(1, 6)))
    else:
        arrivals = rng.integers(0, draw(st.sampled_from([300, 5000])), count).astype(float)
        if kind == "sorted":
            arrivals.sort()
    return Load(rounds, arrivals)


rings = st.builds(Ring, st.integers(1, 9), prompt_us, token_us)
plain_splits = st.builds(
    Split,
    st.integers(1, 4),
    st.integers(1, 9),
    prompt_us,
    token_us,
    st.sampled_from([0.0, 1.0, 4.0, 30.5]),
)
limited_splits = st.builds(
    Split,
    st.integers(1, 4),
    st.integers(1, 9),
    prompt_us,
    token_us,
    st.sampled_from([0.0, 1.0, 4.0, 30.5]),
    st.booleans(),
    st.integers(0, 5),
)


@settings(max_examples=300)
@given(loads(), rings | plain_splits)
def test_the_original_semantics(load: Load, pipeline: Pipeline) -> None:
    same(pipeline, load, "original")


@settings(max_examples=500)
@given(loads(), rings | limited_splits, st.booleans())
def test_the_causal_semantics(load: Load, pipeline: Pipeline, uneven: bool) -> None:
    if uneven:
        lengths = np.random.default_rng(len(load)).integers(1, 9, len(load)) * 1.5
        shared = isinstance(pipeline, Split) and pipeline.shared_link
        load = replace(load, prompt_us=lengths, cache_us=lengths / 3 if shared else None)
    run = same(pipeline, load, "causal")
    assert np.all(run.begin >= np.rint(load.arrival_us * 1e6))
    assert np.all(run.first_token > run.begin)
    assert np.all(run.completion >= run.first_token)


@settings(max_examples=100)
@given(loads(), rings)
def test_a_ring_with_all_arrivals_at_zero_is_alike_in_both(load: Load, ring: Ring) -> None:
    # Times of whole microseconds, so that floats lose nothing.
    ring = Ring(ring.stages, round(ring.prompt_us) + 1.0, round(ring.token_us) + 1.0)
    closed = Load(load.rounds, np.zeros(len(load)))
    causal, original = (run_pipeline(ring, closed, name) for name in ("causal", "original"))
    assert np.array_equal(causal.completion, original.completion)
    assert causal.early_stops == original.early_stops


@settings(max_examples=300)
@given(loads(), rings, st.data())
def test_failures(load: Load, ring: Ring, data: st.DataObject) -> None:
    ends = run_pipeline(ring, load).makespan_us
    moments = st.lists(st.floats(0, 1.2 * ends), max_size=3)
    stall, lag = st.sampled_from([0.0, 5.0, 100.5]), st.integers(0, 3)
    failures = Failures(
        tuple(data.draw(moments)), data.draw(stall), data.draw(st.booleans()), data.draw(lag)
    )
    fast = run_pipeline(ring, load, failures=failures)
    slow = run_pipeline(ring, load, kernel=False, failures=failures)
    for name in TIMES:
        assert np.array_equal(getattr(fast, name), getattr(slow, name)), name
    assert (fast.early_stops, fast.lost) == (slow.early_stops, slow.lost)
    # All are completed, and none before a token of theirs.
    assert np.all(fast.completion >= fast.first_token)
    assert np.all(fast.first_token > fast.begin)
    assert np.all(fast.begin >= 0)


@settings(max_examples=50)
@given(loads(), rings)
def test_failures_that_do_not_happen_change_nothing(load: Load, ring: Ring) -> None:
    expected = run_pipeline(ring, load)
    after = Failures((expected.makespan_us + 1,), 1e6, replicated=False)
    for failures in (Failures((), 5.0), after):
        run = run_pipeline(ring, load, failures=failures)
        assert np.array_equal(run.completion, expected.completion)
        assert run.lost == (0, 0, 0)


@settings(max_examples=100)
@given(loads(), limited_splits)
def test_limits_that_never_bind_change_nothing(load: Load, split: Split) -> None:
    free = replace(split, cache_us=0.0, shared_link=False, waiting=0)
    limited = replace(free, shared_link=True, waiting=len(load))
    expected = run_pipeline(free, load).completion
    assert np.array_equal(run_pipeline(limited, load).completion, expected)


@pytest.mark.parametrize("machines", [1, 4, 16])
@pytest.mark.parametrize("rps", [0.0, 0.1, 1.0])
def test_long_outputs_whose_rounds_are_skipped(machines: int, rps: float) -> None:
    rng = np.random.default_rng(3)
    load = Load(rng.integers(2, 1001, 40), grouped_arrivals(40, rps))
    same(Ring(machines, 100e3, 20e3), load, "causal")
    same(Split(2, machines, 100e3, 20e3, 5e3, waiting=3), load, "causal")
