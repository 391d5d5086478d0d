"""Goodput of every split into pools, beside that of aggregated engines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from servetwin.report.figures import BLUE, VERMILLION
from servetwin.report.kavier_figures import Layers, heading

__all__ = ["goodput_bars"]

KINDS = {"aggregated": VERMILLION, "pools": BLUE}
TEXT_COLOUR = "#333333"
FITS = 0.08
"""Share of the longest bar from which its figure is written inside."""


def goodput_bars(rows: Sequence[dict[str, Any]], title: str, subtitle: str) -> Layers:
    """Rows of `layout`, `kind` (of KINDS), `goodput_rps` and `limited_by`, in order.

    A dashed line marks the best aggregated deployment, where it meets the objectives.
    """
    aggregated = [row["goodput_rps"] for row in rows if row["kind"] == "aggregated"]
    y = alt.Y("layout:N", sort=None, title=None, axis=alt.Axis(labelLimit=220))
    x = alt.X(
        "goodput_rps:Q",
        title="goodput (requests/s within all objectives)",
        scale=alt.Scale(zero=True, nice=True),
    )
    scale = alt.Scale(domain=list(KINDS), range=list(KINDS.values()))
    legend = alt.Legend(title=None, orient="top", symbolType="square", symbolSize=140)
    base = alt.Chart(alt.InlineData(values=list(rows)))
    bars = base.mark_bar().encode(
        x=x,
        y=y,
        color=alt.Color("kind:N", scale=scale, legend=legend),
        tooltip=[
            "layout:N",
            alt.Tooltip("goodput_rps:Q", title="goodput", format=",.3~r"),
            alt.Tooltip("limited_by:N", title="limited by"),
        ],
    )
    longest = max(row["goodput_rps"] for row in rows)
    inside = [row for row in rows if row["goodput_rps"] > FITS * longest]
    outside = [row for row in rows if row["goodput_rps"] <= FITS * longest]
    shown: dict[str, Any] = {"align": "left", "dx": 4, "fontSize": 10}
    within = (
        alt.Chart(alt.InlineData(values=inside))
        .mark_text(**shown, color="white")
        .encode(x=alt.datum(0), y=y, text="shown:N")
    )
    beside = (
        alt.Chart(alt.InlineData(values=outside))
        .mark_text(**shown, color=TEXT_COLOUR)
        .encode(x=x, y=y, text="shown:N")
    )
    best = max(aggregated, default=0.0)
    rule = (
        alt.Chart(alt.InlineData(values=[{"best": best}]))
        .mark_rule(strokeDash=[4, 3], color=TEXT_COLOUR)
        .encode(x="best:Q")
    )
    layers = (bars, within, beside, rule) if best else (bars, within, beside)
    told = "; dashed: the best aggregated" if best else ""
    chart: Layers = alt.layer(*layers).properties(
        title=heading(title, f"{subtitle}{told}"),
        width=520,
        height=alt.Step(24),
    )
    return chart
