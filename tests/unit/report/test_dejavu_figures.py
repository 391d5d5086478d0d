"""Bars of a plan: a bar for what fits, a cross for what does not."""

from __future__ import annotations

from pathlib import Path

from servetwin.report.dejavu_figures import delay_over_time, planner_bars
from servetwin.report.figures import save

KINDS = ("Baseline", "Baseline-DP", "DéjàVu")


def test_gaps_are_crosses_and_the_figure_says_so(tmp_path: Path) -> None:
    given = [None, None, None, 30.0, 20.5, None]
    rows = [
        {"machines": 1 + at // 3, "kind": KINDS[at % 3], "value": value, "layout": "1, b 8"}
        for at, value in enumerate(given)
    ]
    chart = planner_bars(rows, KINDS, "makespan (s)", ("A plan", "of two rows"))
    content = chart.to_dict()
    values = [
        [row["value"] for row in content["datasets"][layer["data"]["name"]]]
        for layer in content["layer"]
    ]
    assert values == [[30.0, 20.5], [30.0, 20.5], [0, 0, 0, 0]]
    top = content["layer"][0]["encoding"]["y"]["scale"]["domain"][1]
    assert top > 1.1 * 30  # room for the figure above the highest bar
    assert "nothing fits" in content["title"]["subtitle"][0]
    save(chart, tmp_path / "plan.png")
    assert (tmp_path / "plan.png").stat().st_size > 5000


def test_without_gaps_nothing_is_said_of_them() -> None:
    rows = [{"machines": 2, "kind": kind, "value": 1.0, "layout": ""} for kind in KINDS]
    chart = planner_bars(rows, KINDS, "makespan (s)", ("A plan", "of one row"))
    assert chart.to_dict()["title"]["subtitle"] == ["of one row"]


def test_delays_of_both_rings(tmp_path: Path) -> None:
    rings = ("replicated", "not replicated")
    rows = [{"t": 1.0 * at, "delay": 2.0, "ring": ring} for ring in rings for at in range(3)]
    chart = delay_over_time(rows, rings, (0.5,), ("A ring of 4", "stand-ins"))
    assert chart.to_dict()["title"]["subtitle"][1:] == ["stand-ins"]
    calm = delay_over_time(rows, rings, (), ("A ring of 4",))
    assert calm.to_dict()["title"]["subtitle"] == ["no failure falls into the run"]
    save(chart, tmp_path / "delays.png")
    assert (tmp_path / "delays.png").stat().st_size > 5000
