from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servetwin.errors import InputError
from servetwin.types.workload import MAX_TOKENS
from servetwin.workload.lengths import Fixed, Lengths, Lognormal, Quantiles, Uniform, Zipf

GRID = np.concatenate(([0.0], (np.arange(100_000) + 0.5) / 100_000, [1.0 - 2.0**-53]))
"""Probabilities from the smallest to the largest that a generator draws."""

bounds = st.tuples(st.integers(1, 5000), st.integers(0, 5000)).map(lambda b: (b[0], b[0] + b[1]))
lengths = st.one_of(
    st.integers(1, MAX_TOKENS).map(Fixed),
    bounds.map(lambda b: Uniform(*b)),
    st.builds(lambda e, b: Zipf(e, b[1], b[0]), st.floats(0.0, 100.0), bounds),
    st.builds(
        lambda m, s, b: Lognormal(m, s, *b), st.floats(1e-3, 1e8), st.floats(0.0, 20.0), bounds
    ),
)


def range_of(spec: Lengths) -> tuple[int, int]:
    if isinstance(spec, Fixed):
        return spec.tokens, spec.tokens
    assert not isinstance(spec, Quantiles)
    return spec.low, spec.high


@given(lengths)
def test_lengths_rise_with_the_probability_and_stay_in_bounds(spec: Lengths) -> None:
    made = spec.at(GRID)
    low, high = range_of(spec)
    assert made.dtype == np.int32
    assert made.min() >= low
    assert made.max() <= high
    assert np.all(np.diff(made) >= 0)


def test_uniform_gives_each_number_the_same_share() -> None:
    values, counts = np.unique(Uniform(3, 12).at(GRID[1:-1]), return_counts=True)
    assert values.tolist() == list(range(3, 13))
    assert set(counts.tolist()) == {10_000}


def test_zipf_has_the_shares_of_its_formula() -> None:
    made = Zipf(1.2, 50, 2).at(GRID[1:-1])
    shares = np.bincount(made, minlength=51)[2:] / made.size
    ranks = np.arange(2, 51) ** -1.2
    assert np.allclose(shares, ranks / ranks.sum(), atol=2e-5)


def test_zipf_of_exponent_0_is_uniform() -> None:
    assert np.array_equal(Zipf(0.0, 10).at(GRID[1:-1]), Uniform(1, 10).at(GRID[1:-1]))


@pytest.mark.parametrize(
    ("spec", "quantity", "wanted"),
    [
        (Lognormal.from_mean_p90(1000, 2000), "mean", 1000.0),
        (Lognormal.from_mean_p90(1000, 2000), "p90", 2000.0),
        (Lognormal.from_mean(1000, 0.8), "mean", 1000.0),
        (Lognormal.from_median_p90(1000, 3000), "p50", 1000.0),
        (Lognormal.from_median_p90(1000, 3000), "p90", 3000.0),
    ],
)
def test_lognormal_has_what_it_was_asked_for(spec: Lognormal, quantity: str, wanted: float) -> None:
    made = spec.at(GRID[1:-1])
    found = made.mean() if quantity == "mean" else np.quantile(made, int(quantity[1:]) / 100)
    assert found == pytest.approx(wanted, rel=1e-3)


def test_quantiles_are_exact_at_their_knots_and_even_between() -> None:
    # A quarter has 5 tokens; the rest is spread over 6..20.
    spec = Quantiles((4, 5, 20), (0.0, 0.25, 1.0))
    values, counts = np.unique(spec.at(GRID[1:-1]), return_counts=True)
    assert values.tolist() == list(range(5, 21))
    assert counts.tolist() == [25_000, *[5_000] * 15]


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (lambda: Fixed(0), "between 1 and"),
        (lambda: Fixed(MAX_TOKENS + 1), "between 1 and"),
        (lambda: Uniform(5, 4), "low must not exceed high"),
        (lambda: Uniform(0, 4), "low of a uniform length is 0"),
        (lambda: Zipf(-1.0, 10), "exponent"),
        (lambda: Zipf(float("nan"), 10), "exponent"),
        (lambda: Zipf(1.0, 10**8), "min <= max"),
        (lambda: Lognormal(0.0, 1.0), "median"),
        (lambda: Lognormal(10.0, float("inf")), "sigma"),
        (lambda: Lognormal(10.0, 1.0, 20, 10), "bounds"),
        (lambda: Lognormal.from_mean_p90(1024, 3000), "between 1024 and 2328"),
        (lambda: Lognormal.from_mean_p90(1024, 1000), "between 1024 and 2328"),
        (lambda: Lognormal.from_mean(float("nan"), 1), "mean"),
        (lambda: Lognormal.from_median_p90(10, 5), "p90"),
        (lambda: Quantiles((), ()), "probability a knot"),
        (lambda: Quantiles((1, 5), (0.0, 0.9)), "probability a knot"),
        (lambda: Quantiles((5, 5), (0.0, 1.0)), "rise"),
    ],
)
def test_impossible_lengths_are_refused_in_one_line(make: object, part: str) -> None:
    assert callable(make)
    with pytest.raises(InputError, match=part):
        make()
