"""The fast conversions of numbers and times equal the exact ones."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servetwin.units import PS_PER_S
from servetwin.workload.parsing.times import UNITS, decimal_text, duration_ps

UNIT = st.sampled_from(sorted(UNITS.values()))
DECIMALS = st.builds(
    lambda whole, fraction: f"{whole}.{fraction}" if fraction else whole,
    st.text("0123456789", min_size=1, max_size=9),
    st.text("0123456789", max_size=20),
)


@given(text=DECIMALS, unit=UNIT)
def test_text_converts_to_the_nearest_picosecond_ties_to_even(text: str, unit: int) -> None:
    assert duration_ps(text, unit, textual=True) == round(Fraction(text) * unit)


@given(text=DECIMALS, unit=UNIT, exponent=st.integers(-30, 3), sign=st.sampled_from("+-"))
def test_exponents_and_signs(text: str, unit: int, exponent: int, sign: str) -> None:
    written = f"{sign}{text}e{exponent}"
    assert duration_ps(written, unit, textual=True) == round(Fraction(written) * unit)


@given(seconds=st.floats(0, 7e6))
def test_a_float_stands_for_its_shortest_text(seconds: float) -> None:
    assert duration_ps(seconds, PS_PER_S) == round(Fraction(repr(seconds)) * PS_PER_S)


@given(time=st.integers(0, 10**19), unit=UNIT)
def test_times_are_written_exactly(time: int, unit: int) -> None:
    assert duration_ps(decimal_text(time, unit), unit, textual=True) == time


@pytest.mark.parametrize("absurd", ["1e400", "-1e400", "9" * 30, 10**30, 10**5000], ids=range(5))
def test_absurd_times_are_refused_without_building_them(absurd: str | int) -> None:
    with pytest.raises(ValueError, match="absurd"):
        duration_ps(absurd, PS_PER_S, textual=True)
