"""The charts: their data, their labels, and the files they are saved to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from servetwin.errors import InputError
from servetwin.report import figures
from servetwin.report.load_figures import load_curve
from servetwin.report.part_figure import time_parts
from servetwin.results import LoadPoint, Slo, load_point, summary
from servetwin.types import RunResult, Status
from support.runs import Shape, request_table, synthetic_run

RUN = synthetic_run()
NOTHING = synthetic_run(
    requests=request_table(arrival=[0], status=[Status.REJECTED]), timeline=None, token_gaps=None
)


def charts_of(run: RunResult) -> dict[str, Any]:
    table = run.requests
    charts: dict[str, Any] = {
        "batch": figures.batch_over_time(run),
        "kv": figures.kv_over_time(run),
        "tokens": figures.tokens_over_time(run),
    }
    charts |= {name: figures.latency_cdf(table, name) for name in ("ttft", "queue", "e2e")}
    charts["tpot"] = figures.latency_over_time(table, "tpot")
    return {name: chart.to_dict() for name, chart in charts.items() if chart is not None}


def points_of(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """The data of a chart, which altair lays out by name beside it."""
    points: list[dict[str, Any]] = spec["datasets"][spec["data"]["name"]]
    return points


def sweep(slo: Slo | None = None) -> list[LoadPoint]:
    rates = (0.5, 1.0, 4.0, 8.0)
    runs = [synthetic_run(Shape(requests=60, rps=rate)) for rate in rates]
    return [load_point(r, summary(run, slo)) for r, run in zip(rates, runs, strict=True)]


def test_every_chart_is_small_titled_and_has_units() -> None:
    units = ("(ms", "(s", "requests", "blocks", "tokens/s", "(min")
    for name, spec in charts_of(RUN).items():
        assert 0 < len(points_of(spec)) <= 2000, name
        assert spec["title"]
        for axis in ("x", "y"):
            assert any(unit in spec["encoding"][axis]["title"] for unit in units), (name, axis)
        if "color" in spec["encoding"]:
            assert spec["encoding"]["color"]["scale"]["range"][0] == figures.BLUE
            assert "strokeDash" in spec["encoding"]


def test_charts_of_nothing_hold_no_points() -> None:
    charts = charts_of(NOTHING)
    assert set(charts) == {"batch", "ttft", "queue", "e2e", "tpot"}
    assert all(points_of(spec) == [] for spec in charts.values())


def test_a_single_point_is_seen() -> None:
    table = request_table(arrival=[7], first_scheduled=[8], first_token=[9], finish=[10])
    for chart in (figures.latency_cdf(table, "ttft"), figures.latency_over_time(table, "ttft")):
        assert chart.to_dict()["mark"]["point"] is True
    assert not figures.latency_cdf(RUN.requests, "ttft").to_dict()["mark"]["point"]


def test_a_long_run_is_told_in_larger_units() -> None:
    arrival = np.arange(100) * 3600 * 10**12
    table = request_table(arrival=arrival, first_token=arrival + 1, finish=arrival + 9)
    chart = figures.latency_over_time(table, "ttft").to_dict()
    assert chart["encoding"]["x"]["title"] == "time of arrival (days)"


def ticks_of(low: float, high: float) -> list[float] | None:
    table = request_table(arrival=[0, 0], first_token=[int(low * 1e9), int(high * 1e9)])
    x = figures.latency_cdf(table, "ttft").to_dict()["encoding"]["x"]
    ticks: list[float] | None = x.get("axis", {}).get("values")
    return ticks


def test_logarithmic_axes_are_labelled_at_round_values() -> None:
    assert ticks_of(10, 50) == pytest.approx([10, 15, 20, 30, 40, 50])
    assert ticks_of(10, 500) == pytest.approx([10, 20, 50, 100, 200, 500])
    assert ticks_of(1, 2000) == pytest.approx([1, 3, 10, 30, 100, 300, 1000])
    assert ticks_of(1, 1e6) == pytest.approx([1, 10, 100, 1000, 1e4, 1e5, 1e6])
    assert ticks_of(10, 20) is None


def test_the_load_curve_marks_the_knee_in_every_panel() -> None:
    spec = load_curve(sweep(), "m on g", ["traffic"]).to_dict()
    assert spec["title"]["text"] == "m on g"
    assert spec["title"]["subtitle"][0] == "traffic"
    assert "Dashed: the knee at" in spec["title"]["subtitle"][1]
    assert [panel["title"] for panel in spec["concat"]] == [
        "TTFT",
        "TPOT",
        "E2E latency",
        "Throughput",
        "Requests",
    ]
    text = str(spec)
    assert "'x': 4.0" in text or "'x': 8.0" in text
    assert "within SLO" not in text
    assert "within SLO" in str(load_curve(sweep(Slo(ttft=10**12))).to_dict())


def test_a_load_curve_of_two_or_dead_points_is_drawn_without_a_knee() -> None:
    dead = replace(sweep()[0], **dict.fromkeys(list(vars(sweep()[0]))[1:]))
    for points in (sweep()[:2], [dead], []):
        assert "No knee" in load_curve(points).to_dict()["title"]["subtitle"][0]


@pytest.mark.parametrize(
    ("suffix", "start"), [(".png", b"\x89PNG"), (".svg", b"<svg"), (".html", b"<!DOCTYPE html>")]
)
def test_figures_are_saved_by_suffix(tmp_path: Path, suffix: str, start: bytes) -> None:
    path = tmp_path / f"curve{suffix}"
    figures.save(load_curve(sweep()), path)
    content = path.read_bytes()
    assert content.lstrip().startswith(start)
    assert list(tmp_path.iterdir()) == [path]
    if suffix == ".html":
        assert b'src="http' not in content


def test_a_wrong_suffix_or_folder_is_told(tmp_path: Path) -> None:
    chart = figures.latency_cdf(RUN.requests, "ttft")
    with pytest.raises(InputError, match=r"must end in \.png, \.svg, \.html"):
        figures.save(chart, tmp_path / "figure.bmp")
    with pytest.raises(InputError, match="cannot write to"):
        figures.save(chart, tmp_path / "nowhere" / "figure.svg")
    assert list(tmp_path.iterdir()) == []


def parts(**seconds: float) -> dict[str, Any]:
    """An attribution in which all requests are alike, of E2E; its TTFT has no decode."""
    ttft = {"queue": seconds.get("queue", 0.0), "own_prefill": 0.2, "rest": 0.3}
    return {name: {"all": one, "p99": one} for name, one in (("e2e", seconds), ("ttft", ttft))}


def test_a_part_of_a_latency_has_one_colour_in_every_report() -> None:
    def colours(found: dict[str, Any]) -> dict[str, str]:
        scale = time_parts(found).to_dict()["encoding"]["color"]["scale"]
        return dict(zip(scale["domain"], scale["range"], strict=True))

    few = colours(parts(own_prefill=0.2, others_prefill=0.1, decode=1.0, preemption=0.0))
    many = colours(
        parts(
            **dict.fromkeys(("queue", "decode", "stage_wait", "preemption", "outage"), 1.0),
            **{"own_prefill": 0.2, "others_prefill": 0.1},
        )
    )
    assert len(set(many.values())) == len(many) == 8
    assert few == {name: many[name] for name in few}
    assert "prefill of others" in few
    assert "prefill of others or preemption" in many.keys() - few.keys()
