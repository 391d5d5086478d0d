"""Power and energy against measurements: the tables of docs/background/energy.md, again."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from servetwin.cost.energy import MetaModel, default_meta_model
from servetwin.cost.energy.load import LoadCurve, read_power
from servetwin.cost.energy.measured import read_points
from servetwin.cost.energy.scoring import COLUMNS, model_watts, sample

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs/background/energy.md"


@pytest.fixture(scope="module")
def tool() -> Iterator[Any]:
    """`tools/fit_power.py`, which is no part of the package."""
    sys.path.insert(0, str(ROOT / "tools"))
    yield importlib.import_module("fit_power")
    sys.path.remove(str(ROOT / "tools"))


@pytest.fixture(scope="module")
def tables(tool, data_dir):
    return tool.tables(data_dir / "measured", tool.fit_curve)


def documented(name: str) -> str:
    """The table between the markers of a name."""
    text = DOCUMENT.read_text("utf-8")
    return text.split(f"<!-- {name} -->")[1].split("<!-- end -->")[0].strip()


@pytest.mark.parametrize(
    "name",
    ["coefficients", "power", "roofline", "unseen", "energy", "time", "assumption", "pulses"],
)
def test_tables_are_as_documented(tables, name):
    assert documented(name) == tables[name]


def verdicts(name: str) -> dict[str, str]:
    """Whether the goal of 15 % is met, by group, as documented."""
    rows = documented(name).splitlines()[2:]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    return {row[0]: row[-1] for row in cells}


def test_the_goal_for_watts_is_met_but_for_one_module():
    """15 % at the measured batch; GH200's limit is that of a module, not of a GPU."""
    assert [group for group, met in verdicts("power").items() if met == "no"] == ["GH200 (Argonne)"]
    assert set(verdicts("pulses").values()) == {"yes"}


def test_where_energy_end_to_end_misses_the_goal_is_said():
    missed = {group for group, met in verdicts("energy").items() if met == "no"}
    assert missed == {"B200 (ML.ENERGY)", "A100 (Splitwise)", "GH200 (Argonne)"}


def test_packaged_coefficients_are_those_of_the_fit(tool, data_dir):
    """The fit, done again on the declared points, gives the packaged numbers."""
    samples = sample(read_points(data_dir / "measured"))
    curve = tool.fit_curve(samples)
    packaged = LoadCurve(**read_power()["load"])
    for name in ("active", "memory", "compute"):
        assert getattr(curve, name) == pytest.approx(getattr(packaged, name), abs=2e-3)
    weights = tool.fit_weights(samples, packaged)
    assert weights == pytest.approx(read_power()["meta_model"]["weights"], abs=5e-3)


def test_the_default_combination_wins_on_held_out_points(data_dir):
    """Fitted weights must beat mean and median where they were not fitted, or not be used."""
    points = read_points(data_dir / "measured")
    samples = sample(points)
    weights = tuple(read_power()["meta_model"]["weights"])
    load = LoadCurve(**read_power()["load"]).load(samples.used)
    watts = model_watts(samples, load, weights)
    held = np.array([not point.fit for point in points])
    assert held.sum() > 100
    errors = np.median(np.abs(watts[:, held] / samples.measured[held] - 1), axis=1)
    pooled = dict(zip(COLUMNS, errors, strict=True))
    default: MetaModel = default_meta_model()
    assert pooled[default.how] == min(pooled[how] for how in ("mean", "median", "weights"))


def test_points_that_were_fitted_are_in_no_table(data_dir):
    points = read_points(data_dir / "measured")
    fitted = {point.label for point in points if point.fit}
    held = {point.label for point in points if not point.fit}
    assert fitted
    assert not fitted & held
    assert not any("Llama-3.1" in label or "gpt-oss" in label for label in fitted)
