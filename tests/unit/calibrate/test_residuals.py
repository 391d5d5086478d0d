"""Bands from hand-made residuals, and the packaged table."""

from __future__ import annotations

import numpy as np
import pytest

from servetwin.calibrate.error_bars import Band
from servetwin.calibrate.residuals import band_of, class_for, read_table
from servetwin.catalog import find_accelerator


def test_a_band_leaves_out_the_same_share_on_both_sides() -> None:
    ratios = np.arange(1, 100) / 50  # 99 ratios: the 10th and the 90th
    assert band_of(ratios) == Band(10 / 50, 90 / 50)


def test_few_ratios_give_a_band_from_the_least_to_the_largest() -> None:
    assert band_of([1.1, 0.9, 1.0]) == Band(0.9, 1.1)
    assert band_of([1.2]) == Band(1.2, 1.2)
    with pytest.raises(ValueError, match="at least one"):
        band_of([])


def test_another_value_lies_within_as_often_as_promised() -> None:
    """Over all ways to leave one of n values out, with any n."""
    for n in range(5, 60):
        values = np.sort(np.random.default_rng(n).lognormal(size=n))
        inside = 0
        for left_out in range(n):
            band = band_of(np.delete(values, left_out))
            inside += band.low <= values[left_out] <= band.high
        assert 0.8 * n - 2 <= inside <= 0.8 * n + 2, n


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (1.2, 1.0), (1.0, float("inf"))])
def test_bands_that_cannot_be(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="low"):
        Band(low, high)


def test_every_level_and_vendor_has_a_class() -> None:
    for level in ("measured", "profiled", "derived"):
        for gpu in ("A100-80GB", "MI300X"):
            known = class_for(level, find_accelerator(gpu))
            assert known.groups >= 5
            assert known.bands.pace.low < known.bands.pace.high


def test_packaged_coverage_is_within_the_goal() -> None:
    """Of values that the interval was not fitted on. Other vendors have no goal of their own."""
    for level, vendors in read_table()["class"].items():
        assert 0.75 <= vendors["fitted"]["coverage"] <= 0.90, level
