"""Verdicts, and what an experiment writes and prints."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import altair as alt
import pytest

from servetwin.errors import InputError
from servetwin.studies.kavier_experiments.outcome import Check, Column, Outcome, Table
from servetwin.studies.kavier_experiments.writing import check_out, deliver


@pytest.mark.parametrize(
    ("found", "passed"),
    [(50.16, True), (50.12, True), (50.161, False), (50.119, False), (float("nan"), False)],
)
def test_a_value_meets_its_target_within_the_tolerance(found: float, passed: bool) -> None:
    assert Check("hours", "h", found, 50.14, 0.02).passed is passed


@pytest.mark.parametrize(("found", "passed"), [(9.9, True), (10.0, False), (10.1, False)])
def test_a_bound_is_stayed_below(found: float, passed: bool) -> None:
    assert Check("seconds", "s", found, 10.0, below=True).passed is passed


def outcome(*checks: Check) -> Outcome:
    rows = [{"model": "one", "hours": 1.5, "missing": None}]
    columns = (Column("model", "model"), Column("hours", "hours", ".1f"), Column("missing", "x"))
    return Outcome(
        study="kavier-9",
        title="Nine",
        about={"quick": False},
        tables={"hours": Table("Hours", rows, columns)},
        checks=checks,
        charts={"plot": lambda: alt.Chart(alt.InlineData(values=rows)).mark_point()},
        notes=["a note"],
    )


MET, MISSED = Check("a", "h", 1.0, 1.0), Check("b", "h", 2.0, 1.0, 0.5)


def test_one_miss_fails_and_nothing_to_compare_is_no_verdict() -> None:
    assert outcome(MET).passed is True
    assert outcome(MET, MISSED).passed is False
    assert outcome().passed is None


def test_all_files_say_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deliver(outcome(MET, MISSED), tmp_path / "out", json=False)
    shown = capsys.readouterr().out
    assert "FAIL: 1 of 2 targets are met" in shown
    assert "MISSED" in shown
    assert "note: a note" in shown
    stem = "kavier-9"
    names = [f"{stem}-hours.csv", f"{stem}-published.csv", f"{stem}-plot.png", f"{stem}-plot.html"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*names, f"{stem}.json"}
    content = json.loads((tmp_path / "out" / f"{stem}.json").read_text())
    assert content["schema"] == "servetwin.kavier_experiment/1"
    assert content["published"]["passed"] is False
    assert content["tables"]["hours"] == [{"model": "one", "hours": 1.5, "missing": None}]
    with (tmp_path / "out" / f"{stem}-published.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["passed"] for row in rows] == ["True", "False"]
    assert (tmp_path / "out" / f"{stem}-plot.png").read_bytes().startswith(b"\x89PNG")


def test_the_page_fits_80_columns_and_targets_have_the_digits_of_what_was_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checks = (Check("bound", "%", 5.81, 10.8546, below=True), Check("b", "h", 57.7, 57.7, 0.02))
    deliver(outcome(*checks), tmp_path, json=False)
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    assert re.search(r"bound \(%\) +< 10\.85 +5\.81 +ok", shown)
    assert re.search(r"b \(h\) +57\.70 +57\.70 +ok", shown)


def test_json_stands_alone(capsys: pytest.CaptureFixture[str]) -> None:
    deliver(outcome(), None, json=True)
    content = json.loads(capsys.readouterr().out)
    assert content["published"] == {"passed": None, "checks": []}


def test_without_targets_no_verdict_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    deliver(replace(outcome(), notes=()), None, json=False)
    assert "Not compared with what was published." in capsys.readouterr().out


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="is a file; name a folder"):
        check_out(tmp_path / "file")
    check_out(tmp_path / "new")
    check_out(None)
