"""Figures by the hour: constants, CSV files, and what is wrong with them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servetwin.cost.energy import HourlySeries, rates, read_rate
from servetwin.errors import InputError

HOUR = 3600.0


def test_a_number_is_a_constant():
    assert read_rate("350.5", "carbon") == 350.5


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "1e308"])
def test_a_number_must_be_possible(text):
    with pytest.raises(InputError, match="carbon"):
        read_rate(text, "carbon")


def series(tmp_path, text: str):
    path = tmp_path / "rate.csv"
    path.write_text(text, encoding="utf-8")
    return read_rate(str(path), "carbon")


@pytest.mark.parametrize(
    "text",
    [
        "0,100\n1,200\n",
        "hour,value\n0,100\n1,200\n",
        "2025-01-31T23:00:00+00:00,100\n2025-02-01T00:00:00+00:00,200\n",
        "timestamp,gCO2/kWh\n2025-01-31 23:00,100\n\n2025-02-01 00:00,200\n",
        "\ufeffhour,value\r\n0,100\r\n1,200\r\n",
    ],
)
def test_hours_and_timestamps_read_alike(tmp_path, text):
    found = series(tmp_path, text)
    assert (found.starts, found.values, found.hours) == ((0.0, 1.0), (100.0, 200.0), 2.0)


def test_the_mean_over_an_interval_is_exact(tmp_path):
    found = series(tmp_path, "0,100\n1,200\n")
    begin = np.array([0.0, 0.5, 0.75, 1.0, 1.75]) * HOUR
    end = np.array([1.0, 1.5, 1.25, 2.0, 2.25]) * HOUR
    # The series lasts two hours and starts again.
    assert found.mean(begin, end).tolist() == pytest.approx([100, 150, 150, 200, 150])


def test_a_series_that_is_over_starts_again(tmp_path):
    assert series(tmp_path, "0,100\n1,200\n").mean(47 * HOUR, 48 * HOUR) == pytest.approx(200)


def test_a_series_that_is_too_long_is_not_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(rates, "MAX_ROWS", 3)
    assert series(tmp_path, "0,1\n1,1\n\n2,9\n").values == (1.0, 1.0, 9.0)
    with pytest.raises(InputError, match="more than 3 lines"):
        series(tmp_path, "0,1\n1,1\n2,9\n3,9\n")


def test_one_value_is_a_constant():
    alone = HourlySeries((0.0,), (7.0,))
    assert alone.mean([0.0, 5.0], [4000.0, 1e6]).tolist() == pytest.approx([7.0, 7.0])


@given(
    st.lists(st.floats(0, 1000), min_size=1, max_size=30),
    st.floats(0, 100),
    st.floats(0.01, 100),
    st.floats(0.01, 100),
)
def test_means_of_parts_make_the_mean_of_the_whole(values, begin, first, second):
    found = HourlySeries(tuple(map(float, range(len(values)))), tuple(values))
    a, b, c = begin * HOUR, (begin + first) * HOUR, (begin + first + second) * HOUR
    whole = found.mean(a, c) * (c - a)
    assert found.mean(a, b) * (b - a) + found.mean(b, c) * (c - b) == pytest.approx(
        float(whole), rel=1e-6, abs=1e-3
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no rows"),
        ("hour,value\n", "no rows"),
        ("0,1\n1\n", "line 2: 1 columns"),
        ("0,1\n1,x\n", "line 2: 'x'"),
        ("0,1\n1,-2\n", "line 2: '-2'"),
        ("0,1\n1,1e308\n", "values must lie between 0 and 1e"),
        ("0,1\n1e308,2\n", "hours must not exceed 1e"),
        ("0,nan\n", "line 1: 'nan'"),
        ("0,1\nnoon,2\n", "line 2: 'noon'"),
        ("0,1\n0,2\n", "line 2: hour 0 must be more than 0"),
        ("1,1\n2,2\n", "line 1: hour 1 must be 0"),
        ("0,1\n2025-01-01 00:00,2\n", "line 2: hours and timestamps are mixed"),
        ("2025-01-01 00:00,1\n2025-01-01T01:00+00:00,2\n", "line 2: some timestamps"),
    ],
)
def test_a_bad_file_is_told_with_its_line(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        series(tmp_path, text)


def test_a_path_that_is_not_there():
    with pytest.raises(InputError, match="neither a number nor a CSV file"):
        read_rate("no/such.csv", "price")
