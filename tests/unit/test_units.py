"""Seconds and picoseconds, there and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servetwin.units import MAX_TIME_PS, NOT_YET, ps_from_seconds, seconds_from_ps


@given(st.integers(0, 2**53))
def test_short_times_survive_the_round_trip(picoseconds: int) -> None:
    """Up to 2.5 hours a float64 holds every picosecond."""
    assert int(ps_from_seconds(seconds_from_ps(picoseconds))) == picoseconds


@given(st.integers(2**53, MAX_TIME_PS))
def test_long_times_settle_after_one_round_trip(picoseconds: int) -> None:
    once = seconds_from_ps(picoseconds)
    assert seconds_from_ps(ps_from_seconds(once)) == once
    assert float(once) == pytest.approx(picoseconds / 1e12, rel=1e-15)


def test_what_never_happened_has_no_time() -> None:
    assert np.isnan(seconds_from_ps(np.array([NOT_YET]))).all()


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -float("inf"), 1e7])
def test_times_beyond_the_clock_are_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="106 days"):
        ps_from_seconds(seconds)
