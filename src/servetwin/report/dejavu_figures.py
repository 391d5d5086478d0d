"""Grouped bars of DéjàVu's planner: makespan, or machine-hours, over the number of machines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from servetwin.report.figures import BLUE, GREEN, VERMILLION
from servetwin.report.kavier_figures import Layers, heading

__all__ = ["completed_over_time", "planner_bars"]

GAP_COLOUR, TEXT_COLOUR = "#888888", "#333333"
CROSS = "\N{MULTIPLICATION SIGN}"
Row = dict[str, Any]


def planner_bars(
    rows: Sequence[Row], kinds: Sequence[str], y_title: str, title: tuple[str, str]
) -> Layers:
    """Rows of `machines`, `kind`, `value` (None: nothing fits, drawn as a cross) and `layout`.

    `title` is a title and a subtitle.
    """
    drawn = [row for row in rows if row["value"] is not None]
    gaps = [{**row, "value": 0} for row in rows if row["value"] is None]
    colour = alt.Color(
        "kind:N",
        scale=alt.Scale(domain=list(kinds), range=[BLUE, GREEN, VERMILLION]),
        legend=alt.Legend(title=None, orient="top", symbolType="square", symbolSize=140),
    )
    x = alt.X("machines:O", title="machines", axis=alt.Axis(labelAngle=0))
    offset = alt.XOffset("kind:N", sort=list(kinds), scale=alt.Scale(domain=list(kinds)))
    y = alt.Y("value:Q", title=y_title, scale=alt.Scale(zero=True, nice=True))
    bars = (
        alt.Chart(alt.InlineData(values=drawn))
        .mark_bar()
        .encode(
            x=x,
            xOffset=offset,
            y=y,
            color=colour,
            tooltip=[
                alt.Tooltip("machines:O"),
                alt.Tooltip("kind:N"),
                alt.Tooltip("value:Q", title=y_title, format=",.4~g"),
                alt.Tooltip("layout:N"),
            ],
        )
    )
    labels = (
        alt.Chart(alt.InlineData(values=drawn))
        .mark_text(angle=270, align="left", dx=3, fontSize=8, color=TEXT_COLOUR)
        .encode(x=x, xOffset=offset, y=y, text=alt.Text("value:Q", format=",.3~r"))
    )
    crosses = (
        alt.Chart(alt.InlineData(values=gaps))
        .mark_text(text=CROSS, color=GAP_COLOUR, fontSize=13, baseline="bottom")
        .encode(x=x, xOffset=offset, y=y, tooltip=["machines:O", "kind:N", "layout:N"])
    )
    text, subtitle = title
    if gaps:
        subtitle += f"; {CROSS} nothing fits"
    chart: Layers = alt.layer(bars, labels, crosses).properties(
        title=heading(text, subtitle), width=560, height=260
    )
    return chart


def completed_over_time(
    rows: Sequence[Row], rings: Sequence[str], failures: Sequence[float], name: str
) -> Layers:
    """Rows of `t` (s), `completed` and `ring`; failures (s) are dotted lines."""
    looks = dict(zip(rings, ((BLUE, [1, 0]), (GREEN, [6, 3]), (VERMILLION, [2, 2])), strict=True))
    colour = alt.Color(
        "ring:N",
        scale=alt.Scale(domain=list(looks), range=[tint for tint, _ in looks.values()]),
        legend=alt.Legend(title=None, orient="top", symbolType="stroke", symbolSize=250),
    )
    dash = alt.StrokeDash(
        "ring:N",
        scale=alt.Scale(domain=list(looks), range=[dashes for _, dashes in looks.values()]),
        legend=alt.Legend(title=None, orient="top", symbolType="stroke", symbolSize=250),
    )
    lines = (
        alt.Chart(alt.InlineData(values=list(rows)))
        .mark_line(interpolate="step-after")
        .encode(
            x=alt.X("t:Q", title="time (s)", scale=alt.Scale(nice=False)),
            y=alt.Y("completed:Q", title="requests completed"),
            color=colour,
            strokeDash=dash,
            tooltip=["ring:N", alt.Tooltip("t:Q", format=",.1f"), "completed:Q"],
        )
    )
    ends = max(row["t"] for row in rows)
    marks = [{"at": at} for at in failures if at <= ends]
    rules = (
        alt.Chart(alt.InlineData(values=marks))
        .mark_rule(strokeDash=[1, 3], color=TEXT_COLOUR)
        .encode(x="at:Q")
    )
    chart: Layers = alt.layer(rules, lines).properties(
        title=heading(f"{name}: machines fail at the dotted lines"), width=560, height=260
    )
    return chart
