"""Outages, shaded in the figures over time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from servetwin.report import figures
from servetwin.report.html import page
from servetwin.report.outages import shaded
from support.runs import synthetic_run

RUN = synthetic_run()
OUTAGES = [
    {"engine": 1, "failed_s": 1.5, "back_s": 4.0},
    {"engine": 0, "failed_s": 2.0, "back_s": 1e6},
    {"engine": 0, "failed_s": 2e6, "back_s": 3e6},
]
SUMMARY = {
    **dict.fromkeys(("count", "begun_anew", "interrupted", "rerouted"), 0),
    **dict.fromkeys(("lost_prompts", "lost_prompt_tokens", "lost_output_tokens"), 0),
    **dict.fromkeys(("restart_s", "downtime_s", "longest_s"), 0.0),
    "replicated": False,
    "outages": OUTAGES,
    "added_latency_s": {"mean": None, "max": None},
}
FAILED = replace(RUN, failures=SUMMARY)


def test_outages_are_bands_up_to_the_end_of_the_run() -> None:
    charts = {"kv": figures.kv_over_time(FAILED), "power": None}
    found = shaded(charts, FAILED)
    assert found["power"] is None
    bands = [layer.data.values for layer in found["kv"].layer][1]
    assert [band["engine"][:8] for band in bands] == ["engine 1", "engine 0"]
    length = {"s": 1.0, "min": 60.0, "h": 3600.0}[bands[0]["unit"]]
    assert bands[0]["from"] == pytest.approx(1.5 / length)
    assert bands[0]["to"] == pytest.approx(4.0 / length)
    assert RUN.timeline is not None
    assert bands[1]["to"] * length == pytest.approx(RUN.timeline.t[-1] / 1e12)
    assert "engine is down" in page(FAILED)
    assert bands[0]["unit"] in found["kv"].to_dict()["layer"][0]["encoding"]["x"]["title"]


def test_without_outages_charts_stay_as_they_are() -> None:
    chart = figures.kv_over_time(RUN)
    assert shaded({"kv": chart}, RUN) == {"kv": chart}
    assert shaded({"kv": chart}, replace(RUN, failures={"outages": []})) == {"kv": chart}
    assert "engine is down" not in page(RUN)
