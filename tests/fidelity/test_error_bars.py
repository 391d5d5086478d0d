"""Error bars against measurements: coverage of what was not used for fitting, and series."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from servetwin.calibrate.error_bars import around, reruns
from servetwin.calibrate.residuals import class_for, read_table
from servetwin.calibrate.verdict import SATURATED, verdict
from servetwin.cli import app as program
from servetwin.sim import SimOptions, simulate
from servetwin.studies.fidelity.board import build
from servetwin.studies.fidelity.intervals import check, classes, ratios_of
from servetwin.studies.fidelity.predict import cost_of
from servetwin.studies.fidelity.sets import read_set
from servetwin.studies.fidelity.variants import Fits
from servetwin.studies.fidelity.writing import write_board

PAGE = Path(__file__).resolve().parents[2] / "docs" / "background" / "fidelity.md"


def test_intervals_hold_where_they_were_not_fitted(data_dir: Path, tmp_path: Path) -> None:
    """Six points of each group, fitted anew without each group in turn."""
    write_board(build(data_dir, small=True), tmp_path)
    with (tmp_path / "fidelity-points.csv").open(newline="", encoding="utf-8") as file:
        ratios = classes(ratios_of(csv.DictReader(file)))["derived", "fitted"]
    found = check(ratios)["all"]
    assert found.values > 50
    assert 0.70 <= found.coverage <= 0.95


@pytest.mark.parametrize("gpu", ["RTX-4090", "RTX-PRO-6000"])
def test_intervals_of_measured_runs(data_dir: Path, gpu: str) -> None:
    """Reruns and all, of two saturated runs; their residuals are 4 values of some 1,700."""
    (point,) = (
        p
        for p in read_set("vllm-runs", data_dir / "measured").points
        if p.tags["gpu"] == gpu and not p.profiles and p.group.endswith("means")
    )
    workload = point.workload()
    cost = cost_of(point, workload, data_dir / "profiles", Fits())
    options = SimOptions(snapshot_interval=0, token_gaps=False)
    run = simulate(point.deployment, workload, cost, options)
    known = class_for("derived", point.deployment.accelerator)
    fast, slow = reruns(
        lambda scaled: simulate(point.deployment, workload, scaled, options),
        cost,
        known.bands.pace,
    )
    found = around(run, fast, slow, known.bands)
    keys = {"ttft": "ttft_ms", "tpot": "tpot_ms", "e2e": "e2e_latency_s"}
    for metric, key in keys.items():
        low, high = found[key]["mean"]
        value = point.measured[metric][0] * (1e3 if key.endswith("_ms") else 1)
        assert low <= value <= high, metric
    low, high = found["throughput_token_s"]
    assert low <= point.measured["throughput"][0] <= high
    assert verdict(run, slow)["load"] == SATURATED


def test_the_page_states_what_is_packaged() -> None:
    text = PAGE.read_text("utf-8")
    for vendors in read_table()["class"].values():
        for entry in vendors.values():
            for metric, found in entry["checked"].items():
                share = 100 * found["inside"] / found["values"]
                cells = (entry["name"], metric, f"{found['values']:,}", f"{share:.0f} %")
                row = f"| {' | '.join(cells)} | {100 * found['half_width']:.0f} % |"
                print(row)
                assert row in text


def test_series_of_measured_runs(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        program.main(
            ["study", "fidelity-series", "--data", str(data_dir), "--out", str(tmp_path / "out")]
        )
    assert exit_.value.code == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines()[:9])) <= 80
    with (tmp_path / "out" / "fidelity-p99.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    outside = 0
    for row in rows:
        measured, low, high, simulated = (
            float(row[name]) for name in ("measured", "low", "high", "simulated")
        )
        assert low <= measured <= high
        assert abs(simulated / measured - 1) <= 0.05
        cells = [row["gpu"], row["metric"].upper(), *(f"{v:.4g}" for v in (measured, low, high))]
        verdict = "within" if low <= simulated <= high else "outside"
        outside += verdict == "outside"
        line = f"| {' | '.join([*cells, f'{simulated:.4g}', verdict])} |"
        print(line)
        assert line in PAGE.read_text("utf-8")
    assert f"{outside} of 6 simulated P99 lie outside" in printed
    assert f"{outside} of the 6 lie outside" in PAGE.read_text("utf-8")
    page = (tmp_path / "out" / "fidelity-series.html").read_text("utf-8")
    assert "P99 of requests" in page
    assert 'id="series-0"' in page
    assert (tmp_path / "out" / "fidelity-series.png").stat().st_size > 20_000
    with (tmp_path / "out" / "fidelity-series.csv").open(newline="", encoding="utf-8") as file:
        values = [
            float(row["value"])
            for row in csv.DictReader(file)
            if row["quantity"] == "running requests" and row["kind"] == "simulated"
        ]
    assert np.max(values) > 40
