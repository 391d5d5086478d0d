"""--price, --carbon, --pue: from flags to watts in the timeline and dollars in the summary."""

from __future__ import annotations

import json
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import pytest

from servetwin.cli import app as program
from servetwin.cli.energy import energy_options
from servetwin.cli.settings import RunSettings
from servetwin.errors import InputError
from servetwin.report.wording import number, outcome
from servetwin.results import read_run

SMALL = ["simulate", "--model", "llama-3.1-8b", "--gpu", "a100", "--isl", "200", "--osl", "50"]
SMALL += ["--rps", "5", "--requests", "50", "--reference"]


def simulate(*flags: str) -> str:
    """What the program prints."""
    with redirect_stdout(StringIO()) as out, pytest.raises(SystemExit) as exit_:
        program.main([*SMALL, *flags])
    assert exit_.value.code == 0
    return out.getvalue()


def summary(*flags: str) -> dict:
    content: dict = json.loads(simulate("--json", *flags))
    return content


@pytest.fixture(scope="module")
def metrics() -> dict:
    return summary("--carbon", "400", "--pue", "1.25", "--price", "3")["metrics"]


def test_energy_is_in_every_run() -> None:
    found = summary()["metrics"]
    assert found["energy"]["total_j"] > found["energy"]["idle_j"] > 0
    assert found["carbon_g"] is None
    assert found["cost"]["usd"] > 0  # the catalog's price


def test_pue_and_rates_multiply(metrics: dict) -> None:
    plain = summary()["metrics"]["energy"]
    totals = metrics["energy"]["footprint"]
    assert metrics["energy"]["total_j"] == pytest.approx(plain["total_j"])
    assert totals["wh"] == pytest.approx(1.25 * plain["total_j"] / 3600)
    assert metrics["carbon_g"] == pytest.approx(0.4 * totals["wh"])
    assert totals["per_request"]["carbon_g"] == pytest.approx(metrics["carbon_g"] / 50)
    tokens = metrics["output_tokens"]
    per_million = metrics["cost"]["usd_per_million_output_tokens"]
    assert per_million == pytest.approx(metrics["cost"]["usd"] / tokens * 1e6)


def test_energy_and_carbon_on_one_line_say_which_has_the_pue(metrics: dict) -> None:
    totals, line = metrics["energy"]["footprint"], outcome(metrics)["Energy"]
    assert line.startswith(f"{number(metrics['energy']['total_j'] / 3600)} Wh, ")
    carbon = number(metrics["carbon_g"])
    assert line.endswith(f"; with PUE 1.25: {number(totals['wh'])} Wh, {carbon} gCO2e")
    assert "PUE" not in outcome(summary("--carbon", "400")["metrics"])["Energy"]


def test_a_series_by_the_hour(tmp_path: Path, metrics: dict) -> None:
    series = tmp_path / "grid.csv"
    series.write_text("hour,gCO2e/kWh\n0,400\n1,900\n")
    flags = ("--pue", "1.25", "--price", "3")
    assert summary("--carbon", str(series), *flags)["metrics"]["carbon_g"] == pytest.approx(
        metrics["carbon_g"]
    )


def test_results_on_disk_keep_watts_and_energy(tmp_path: Path, metrics: dict) -> None:
    rates = ("--carbon", "400", "--pue", "1.25", "--price", "3")
    assert "gCO2e" in simulate(*rates, "--out", str(tmp_path / "run"))
    run = read_run(tmp_path / "run")
    assert run.footprint == {name: metrics[name] for name in ("energy", "carbon_g", "cost")}
    assert run.timeline is not None
    assert run.timeline.power_w is not None
    assert np.all(run.timeline.power_w > 0)
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "Power" in page
    assert "gCO2e" in page


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"carbon": "-1"}, "--carbon -1: must be a number from 0"),
        ({"price": "nan"}, "--price nan: must be a number from 0"),
        ({"carbon": "missing.csv"}, "--carbon 'missing.csv': neither a number nor a CSV"),
        ({"pue": 1.1, "snapshot_interval": "0s"}, "--pue: energy is computed from the timeline"),
    ],
)
def test_bad_rates_are_told_before_the_run(settings: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        energy_options(RunSettings(**settings))


def test_without_a_timeline_there_is_no_energy() -> None:
    assert energy_options(RunSettings(snapshot_interval="0s")) is None
    assert summary("--snapshot-interval", "0s")["metrics"]["energy"] is None
