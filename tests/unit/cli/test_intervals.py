"""Intervals, verdict and evidence: in every run up to a size, and in whatever shows it."""

from __future__ import annotations

import json
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from servetwin.cli import app as program
from servetwin.cli import intervals
from servetwin.results import read_run

SMALL = ["simulate", "--model", "llama-3.1-8b", "--gpu", "a100", "--isl", "200", "--osl", "50"]
SMALL += ["--requests", "60", "--reference"]


def simulate(*flags: str) -> str:
    """What the program prints."""
    with redirect_stdout(StringIO()) as out, pytest.raises(SystemExit) as exit_:
        program.main([*SMALL, *flags])
    assert exit_.value.code == 0
    return out.getvalue()


@pytest.fixture(scope="module")
def summary() -> dict:
    content: dict = json.loads(simulate("--rps", "5", "--json"))
    return content


def test_every_figure_lies_within_its_interval(summary: dict) -> None:
    metrics = summary["metrics"]
    found = metrics["intervals"]
    for key in ("ttft_ms", "tpot_ms", "e2e_latency_s"):
        for statistic, (low, high) in found[key].items():
            assert low <= metrics[key][statistic] <= high, (key, statistic)
    low, high = found["throughput_token_s"]
    assert low <= metrics["throughput_token_s"] <= high
    # Where the load is low, requests that come set the throughput, whatever an iteration takes.
    assert high / low < 1.05


def test_evidence_says_what_it_rests_on(summary: dict) -> None:
    evidence = summary["provenance"]["evidence"]
    assert evidence["class"] == "derived costs, NVIDIA"
    assert evidence["points"] > 1000
    assert "A100" in evidence["nearest"]["what"]
    assert summary["metrics"]["verdict"]["load"] == "comfortable"


def test_a_batch_too_large_to_run_at_once_is_saturated() -> None:
    metrics = json.loads(simulate("--max-num-seqs", "8", "--json"))["metrics"]
    assert metrics["verdict"]["load"] == "saturated"


def test_files_and_reports_show_them(tmp_path: Path) -> None:
    printed = simulate("--rps", "5", "--out", str(tmp_path))
    assert "80 % range" in printed
    assert "nearest: " in printed
    assert max(map(len, printed.splitlines())) <= 80
    assert "80&nbsp;% of means" in (tmp_path / "report.html").read_text("utf-8")
    run = read_run(tmp_path)
    assert run.error_bars is not None
    assert run.error_bars["intervals"]["nominal"] == 0.8


def test_they_can_be_left_out_and_change_nothing_else(summary: dict) -> None:
    without = json.loads(simulate("--rps", "5", "--json", "--no-intervals"))
    added = {name: summary["metrics"].pop(name) for name in ("intervals", "verdict")}
    assert all(added.values())
    assert {without["metrics"].pop(name) for name in added} == {None}
    assert without["metrics"] == summary["metrics"]
    assert without["config"] == summary["config"]
    assert without["experiment_id"] == summary["experiment_id"]
    assert "evidence" not in without["provenance"]


def test_long_runs_go_without_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "MOST_REQUESTS", 59)
    content = json.loads(simulate("--rps", "5", "--json"))
    assert content["metrics"]["intervals"] is None
    assert any("no intervals" in note for note in content["notes"])
