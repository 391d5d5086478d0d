"""What latencies consist of, as a chart."""

from __future__ import annotations

from typing import Any

import altair as alt

from servetwin.report.figures import BLUE, GREEN, PURPLE, VERMILLION, chart_of, share_scale
from servetwin.report.wording import PART_NAMES, part_names

__all__ = ["time_parts"]

PART_COLOURS = {
    "frontend": "#8A5A2B",
    "queue": BLUE,
    "transfer": "#000000",
    "own_prefill": GREEN,
    "others_prefill": VERMILLION,
    "decode": "#E69F00",
    "stage_wait": "#F0E442",
    "outage": "#999999",
    "preemption": PURPLE,
    "rest": "#56B4E9",
}
"""Of the parts of a latency: each keeps its own."""


def time_parts(attribution: dict[str, Any]) -> alt.Chart:
    """What latencies consist of: of all requests, and of those at or above P99."""
    groups, names = {"all": "all requests", "p99": "from P99 up"}, part_names(attribution)
    rows = [
        {
            "bar": f"{name.upper()}, {groups[group]}",
            "part": names[part],
            "share": share,
            "rank": rank,
        }
        for name, found in attribution.items()
        for group, parts in found.items()
        for rank, (part, seconds) in enumerate(parts.items())
        if (share := seconds / (sum(parts.values()) or 1.0)) > 0
    ]
    shown = [name for name in PART_NAMES.values() if any(row["part"] == name for row in rows)]
    colours = {PART_NAMES[part]: colour for part, colour in PART_COLOURS.items()}
    scale = alt.Scale(domain=shown, range=[colours[name] for name in shown])
    chart: alt.Chart = (
        chart_of(rows, "Where the time goes")
        .mark_bar()
        .encode(
            x=alt.X(
                "share:Q", title="share of the mean latency", stack="zero", scale=share_scale()
            ).axis(format="%"),
            y=alt.Y("bar:N", title=None, sort=None, axis=alt.Axis(labelLimit=200)),
            color=alt.Color("part:N", scale=scale).legend(
                title=None, orient="top", columns=3, labelLimit=250
            ),
            order=alt.Order("rank:Q"),
            tooltip=["bar:N", "part:N", alt.Tooltip("share:Q", format=".1%")],
        )
    )
    return chart
