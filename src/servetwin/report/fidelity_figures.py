"""Predicted against measured values, point by point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np

from servetwin.report.figures import BLUE, GREEN, PURPLE, VERMILLION, log_axis

__all__ = ["predicted_against_measured"]

ORANGE, SKY, BLACK, GREY = "#E69F00", "#56B4E9", "#000000", "#888888"
LOOKS = {
    "inferencex": (BLUE, "circle"),
    "argonne": (ORANGE, "square"),
    "mlenergy": (GREEN, "triangle-up"),
    "splitwise": (VERMILLION, "diamond"),
    "kavier-a10": (PURPLE, "cross"),
    "vllm-runs": (BLACK, "triangle-down"),
    "vllm-series": (SKY, "triangle-right"),
}
"""Colour and symbol of each measured set."""
TITLES = {
    "ttft": "TTFT (s)",
    "tpot": "TPOT (s)",
    "e2e": "E2E (s)",
    "throughput": "tokens/s",
    "energy": "J/token",
}
SIDE = 300
Row = Mapping[str, Any]


def predicted_against_measured(points: Sequence[Row], metric: str | None = None) -> Any:
    """One square log-log panel for each metric, or that of one metric, with y = x and x 2."""
    if metric is not None:
        return _panel(points, metric)
    shown = [name for name in TITLES if any(point["metric"] == name for point in points)]
    panels = [_panel(points, name).properties(width=SIDE, height=SIDE) for name in shown]
    return alt.concat(*panels, columns=3).properties(
        title="Predicted against measured, derived costs; lines: equal, and off by a factor of two"
    )


def _panel(points: Sequence[Row], metric: str) -> Any:
    keys = ("set", "label", "measured", "predicted", "error")
    rows = [{key: point[key] for key in keys} for point in points if point["metric"] == metric]
    values = np.array([row[key] for row in rows for key in ("measured", "predicted")])
    axis = log_axis(values)
    dots = (
        alt.Chart(alt.InlineData(values=rows))
        .mark_point(size=22, opacity=0.55, strokeWidth=1.2)
        .encode(
            x=alt.X("measured:Q", title=f"measured {TITLES[metric]}", **axis),
            y=alt.Y("predicted:Q", title=f"predicted {TITLES[metric]}", **axis),
            color=alt.Color(
                "set:N", title=None, scale=_scale(0), legend=alt.Legend(orient="top")
            ),
            shape=alt.Shape("set:N", title=None, scale=_scale(1)),
            tooltip=["set:N", "label:N", "measured:Q", "predicted:Q",
                     alt.Tooltip("error:Q", format="+.0%")],
        )
    )  # fmt: skip
    low, high = float(values.min()), float(values.max())
    return alt.layer(*_guides(low, high), dots)


def _scale(part: int) -> alt.Scale:
    """Colours or symbols of all sets, in every panel the same."""
    return alt.Scale(domain=list(LOOKS), range=[look[part] for look in LOOKS.values()])


def _guides(low: float, high: float) -> list[alt.Chart]:
    """Lines of equality and of a factor of two either way, within the frame."""
    lines = []
    for factor, dashes in ((1.0, [1, 0]), (2.0, [4, 3]), (0.5, [4, 3])):
        ends = (max(low, low / factor), min(high, high / factor))
        rows = [{"x": x, "y": x * factor} for x in ends]
        lines.append(
            alt.Chart(alt.InlineData(values=rows))
            .mark_line(color=GREY, strokeWidth=1, strokeDash=dashes)
            .encode(x="x:Q", y="y:Q")
        )
    return lines
