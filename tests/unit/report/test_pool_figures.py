"""Bars of goodput, their colours, figures and the line of the best aggregated deployment."""

from __future__ import annotations

from pathlib import Path

from servetwin.report.figures import save
from servetwin.report.pool_figures import KINDS, goodput_bars

ROWS = [
    {"layout": "4 aggregated", "kind": "aggregated", "goodput_rps": 8.0, "shown": "8"},
    {"layout": "4 aggregated (512)", "kind": "aggregated", "goodput_rps": 9.0, "shown": "9"},
    {"layout": "1 prefill + 3 decode", "kind": "pools", "goodput_rps": 0.5, "shown": "0.5"},
    {"layout": "2 prefill + 2 decode", "kind": "pools", "goodput_rps": 10.0, "shown": "10"},
    {"layout": "3 prefill + 1 decode", "kind": "pools", "goodput_rps": 0.0, "shown": "none"},
]


def test_every_bar_has_its_figure_and_the_line_is_the_best_aggregated(tmp_path: Path) -> None:
    rows = [{**row, "limited_by": "TTFT: queueing"} for row in ROWS]
    chart = goodput_bars(rows, "title", "subtitle")
    bars, within, beside, rule = (layer.data.values for layer in chart.layer)
    assert [row["layout"] for row in bars] == [row["layout"] for row in ROWS]
    assert [row["shown"] for row in within] == ["8", "9", "10"]
    assert [row["shown"] for row in beside] == ["0.5", "none"]
    assert rule == [{"best": 9.0}]
    encoding = chart.to_dict()["layer"][0]["encoding"]
    scale = encoding["color"]["scale"]
    assert dict(zip(scale["domain"], scale["range"], strict=True)) == KINDS
    assert "requests/s" in encoding["x"]["title"]
    for suffix in ("png", "svg"):
        save(chart, tmp_path / f"figure.{suffix}")
    assert "3 prefill + 1 decode" in (tmp_path / "figure.svg").read_text()


def test_nothing_meets_anything(tmp_path: Path) -> None:
    rows = [{**row, "goodput_rps": 0.0, "shown": "none", "limited_by": ""} for row in ROWS]
    chart = goodput_bars(rows, "title", "subtitle")
    assert len(chart.layer) == 3  # no line for a best that there is not
    assert chart.to_dict()["title"]["subtitle"] == ["subtitle"]
    save(chart, tmp_path / "figure.png")
