"""The bins of the token-gap histogram and the statistics taken from it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servetwin.results.gaps import (
    bin_edges,
    bin_of,
    bins_of,
    mean_from_counts,
    percentile_from_counts,
)
from servetwin.types import TokenGaps

MAX_INT64 = 2**63 - 1

gaps = st.integers(1, MAX_INT64)


@pytest.mark.parametrize(
    ("gap", "expected"),
    [
        (-5, 0),
        (0, 0),
        (1, 0),
        (2, 256),
        (3, 256 + 128),
        (256, 8 * 256),
        (257, 8 * 256 + 1),
        (511, 8 * 256 + 255),
        (512, 9 * 256),
        (2**53 - 1, 52 * 256 + 255),
        (MAX_INT64, 63 * 256),
    ],
)
def test_bins_are_a_doubling_and_its_256th_parts(gap: int, expected: int) -> None:
    assert bin_of(gap) == expected


@given(st.integers(0, 2**53))
def test_a_gap_lies_between_the_edges_of_its_bin(gap: int) -> None:
    low, high = bin_edges()[bin_of(gap) : bin_of(gap) + 2]
    assert max(gap, 1) >= low
    assert gap < high


@given(st.lists(st.integers(-10, MAX_INT64), min_size=1))
def test_array_and_single_gaps_fall_into_the_same_bins(values: list[int]) -> None:
    assert bins_of(values).tolist() == [bin_of(value) for value in values]


def test_every_bin_exists_and_is_at_most_0_4_percent_wide() -> None:
    edges = bin_edges()
    assert edges.shape == (TokenGaps.BINS + 1,)
    widths = edges[1:] / edges[:-1]
    assert widths.min() > 1
    assert widths.max() <= 1 + 1 / 256


@given(
    st.lists(st.integers(256, 10**13), min_size=1, max_size=60),
    st.floats(0, 100),
)
def test_percentiles_are_within_one_bin_of_the_exact_ones(values: list[int], p: float) -> None:
    counts = np.bincount(bins_of(values), minlength=TokenGaps.BINS)
    assert percentile_from_counts(counts, p) == pytest.approx(np.percentile(values, p), rel=1 / 256)


@given(st.lists(st.integers(256, 10**13), min_size=1, max_size=60))
def test_the_mean_is_within_half_a_bin(values: list[int]) -> None:
    counts = np.bincount(bins_of(values), minlength=TokenGaps.BINS)
    assert mean_from_counts(counts) == pytest.approx(np.mean(values), rel=1 / 512)


def test_a_percentile_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one gap"):
        percentile_from_counts(np.zeros(TokenGaps.BINS, np.int64), 50)
