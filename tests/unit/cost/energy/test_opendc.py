"""OpenDC's power source file and Kavier's figures from it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from servetwin.cost.energy import efficiency, read_power_source
from servetwin.cost.energy.opendc import euro_per_million_tokens
from servetwin.errors import InputError


def written(tmp_path, **columns):
    path = tmp_path / "powerSource.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def test_totals_in_wh_and_grams(tmp_path):
    path = written(
        tmp_path,
        timestamp=[300_000, 600_000],
        energy_usage=[3600.0, 7200.0],
        carbon_emission=[1.5, 2.5],
    )
    found = read_power_source(path)
    assert (found.joules, found.wh, found.carbon_g, found.rows) == (10800.0, 3.0, 4.0, 2)
    figures = efficiency(found, tokens=2_000_000, total_latency_s=7200.0, price_per_hour=10.0)
    # Two GPU hours at 10 an hour for two million tokens.
    assert figures.price_per_million_tokens == pytest.approx(10.0)
    assert figures.wh_per_million_tokens == pytest.approx(1.5)
    assert figures.carbon_g_per_million_tokens == pytest.approx(2.0)
    assert efficiency(found, 1, 1.0).price_per_million_tokens is None


def test_the_published_formula_and_its_slip():
    """price / 3600 / (tokens / s) * 1e6; durations in ms taken as s give 1,000 times as much."""
    tokens, latency_ms, price = 500_000, 250_000, 2.0
    right = euro_per_million_tokens(price, tokens / (latency_ms / 1e3))
    assert right == pytest.approx(2.0 / 3600 * 250 * 2)
    assert euro_per_million_tokens(price, tokens / latency_ms) == pytest.approx(1000 * right)


def test_carbon_that_nobody_stated_is_unknown_not_nothing(tmp_path):
    found = read_power_source(written(tmp_path, energy_usage=[3600.0]))
    assert (found.wh, found.carbon_g) == (1.0, None)
    assert efficiency(found, 1, 1.0).carbon_g_per_million_tokens is None


def test_whole_numbers_are_numbers(tmp_path):
    path = written(tmp_path, energy_usage=[1, 2], carbon_emission=[0, 0])
    assert read_power_source(path).joules == 3.0


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"carbon_emission": [1.0]}, "no column energy_usage"),
        ({"energyUsage": [1.0], "carbon_emission": [1.0]}, "did you mean energyUsage"),
        ({"energy_usage": ["a"], "carbon_emission": [1.0]}, "column energy_usage: string"),
        ({"energy_usage": [1.0, -1.0], "carbon_emission": [1.0, 1.0]}, "row 1: -1"),
        ({"energy_usage": [1.0, None], "carbon_emission": [1.0, 1.0]}, "row 1: nan"),
        ({"energy_usage": [1.0], "carbon_emission": [float("inf")]}, "row 0: inf"),
        ({"energy_usage": [1e308] * 9, "carbon_emission": [0.0] * 9}, "row 0: 1e[+]308"),
        ({"energy_usage": pa.array([], pa.float64()),
          "carbon_emission": pa.array([], pa.float64())}, "no rows"),
    ],
)  # fmt: skip
def test_a_bad_file_is_told_exactly(tmp_path, columns, message):
    with pytest.raises(InputError, match=message):
        read_power_source(written(tmp_path, **columns))


def test_no_file_or_no_parquet(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_power_source(tmp_path / "powerSource.parquet")
    text = tmp_path / "text.parquet"
    text.write_text("energy_usage\n1\n")
    with pytest.raises(InputError, match="is not a Parquet file; expected OpenDC"):
        read_power_source(text)


def test_a_file_that_is_damaged_inside(tmp_path):
    path = written(tmp_path, energy_usage=[1.0] * 1000, carbon_emission=np.arange(1000.0))
    content = bytearray(path.read_bytes())
    content[30:300] = b"\xff" * 270
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a readable Parquet file"):
        read_power_source(path)


def test_a_column_that_is_there_twice(tmp_path):
    path = tmp_path / "twice.parquet"
    columns = [pa.array([1.0])] * 3
    names = ["energy_usage", "energy_usage", "carbon_emission"]
    pq.write_table(pa.Table.from_arrays(columns, names), path)
    with pytest.raises(InputError, match="2 columns energy_usage"):
        read_power_source(path)


def test_nothing_to_divide_by():
    with pytest.raises(InputError):
        euro_per_million_tokens(1.0, 0.0)
    with pytest.raises(InputError):
        euro_per_million_tokens(float("nan"), 1.0)
