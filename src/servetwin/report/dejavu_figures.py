"""Grouped bars of DéjàVu's planner: makespan, or machine-hours, over the number of machines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from servetwin.report.figures import BLUE, GREEN, VERMILLION
from servetwin.report.kavier_figures import Layers, heading

__all__ = ["delay_over_time", "planner_bars"]

GAP_COLOUR, TEXT_COLOUR = "#888888", "#333333"
ROOM = 1.15
"""Of the highest bar, so that its figure stays below the legend."""
CROSS = "\N{MULTIPLICATION SIGN}"
Row = dict[str, Any]


def planner_bars(
    rows: Sequence[Row], kinds: Sequence[str], y_title: str, title: tuple[str, ...]
) -> Layers:
    """Rows of `machines`, `kind`, `value` (None: nothing fits, drawn as a cross) and `layout`.

    `title` is a title and the lines below it.
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
    top = max((row["value"] for row in drawn), default=0.0) * ROOM or 1.0
    y = alt.Y("value:Q", title=y_title, scale=alt.Scale(domain=[0, top], nice=True))
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
    text, *lines = title
    if gaps:
        lines[:1] = [f"{line}; {CROSS} nothing fits" for line in lines[:1]]
    chart: Layers = alt.layer(bars, labels, crosses).properties(
        title=heading(text, *lines), width=560, height=260
    )
    return chart


def delay_over_time(
    rows: Sequence[Row], rings: Sequence[str], failures: Sequence[float], title: tuple[str, ...]
) -> Layers:
    """Rows of `t` and `delay` in seconds, and `ring`; failures (s) are dotted lines.

    `title` is a title and the lines below it.
    """
    legend = alt.Legend(title=None, orient="top", symbolSize=90)
    colours = alt.Scale(domain=list(rings), range=[BLUE, VERMILLION])
    shapes = alt.Scale(domain=list(rings), range=["circle", "square"])
    points = (
        alt.Chart(alt.InlineData(values=list(rows)))
        .mark_point(filled=True, size=16)
        .encode(
            x=alt.X("t:Q", title="completion without failures (s)", scale=alt.Scale(nice=False)),
            y=alt.Y("delay:Q", title="later by (s)", scale=alt.Scale(zero=True, nice=True)),
            color=alt.Color("ring:N", scale=colours, legend=legend),
            shape=alt.Shape("ring:N", scale=shapes, legend=legend),
            tooltip=[
                "ring:N",
                alt.Tooltip("t:Q", title="without failures", format=",.1f"),
                alt.Tooltip("delay:Q", title="later by", format=",.2f"),
            ],
        )
    )
    rules = (
        alt.Chart(alt.InlineData(values=[{"at": at} for at in failures]))
        .mark_rule(strokeDash=[1, 3], color=TEXT_COLOUR)
        .encode(x="at:Q")
    )
    text, *lines = title
    legend_line = "dotted: a machine fails; each point is a request"
    if not failures:
        legend_line = "no failure falls into the run"
    chart: Layers = alt.layer(rules, points).properties(
        title=heading(text, legend_line, *lines),
        width=560,
        height=260,
    )
    return chart
