"""Charts of Kavier's experiments. Rows are plain values, as the experiments' tables have them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from servetwin.report.figures import BLUE, VERMILLION

__all__ = [
    "accuracy",
    "axis_of",
    "decades",
    "export_cost",
    "heading",
    "inline",
    "linear",
    "marked",
]

ORANGE, SKY, BLACK, GREY = "#E69F00", "#56B4E9", "#000000", "#666666"
Row = Mapping[str, Any]
Layers = alt.LayerChart | alt.FacetChart
Look = tuple[str, str, list[int]]
"""Colour, symbol and dashes."""

WORDS = {"prefill": "input", "decode": "output"}
"""Tokens that the time of a phase is divided by."""

FORMS: dict[str, Look] = {
    "measured": (BLACK, "circle", [1, 0]),
    "kavier": (VERMILLION, "square", [6, 3]),
    "servetwin": (BLUE, "triangle-up", [1, 0]),
}


def accuracy(phase: str, rows: Sequence[Row], subtitle: str) -> alt.HConcatChart:
    """Time per token beside the error, over the length; one panel more for a second reading."""
    readings = list(dict.fromkeys(row["reading"] for row in rows))
    long = [
        {
            "reading": row["reading"],
            "tokens": row["tokens"],
            "form": form,
            "ms": 1e3 * row[f"{form}_s"] / row["tokens"],
            "seconds": row[f"{form}_s"],
            "error": row[f"{form}_s"] / row["measured_s"] - 1,
        }
        for row in rows
        for form in FORMS
    ]
    panels = []
    for reading in readings:
        here = [row for row in long if row["reading"] == reading]
        suffix = f", {reading}" if len(readings) > 1 else ""
        panels.append(_per_token(here, phase, f"Time a token{suffix}"))
        predicted = [row for row in here if row["form"] != "measured"]
        panels.append(_errors(predicted, phase, f"Error{suffix}"))
    # Readings side by side; a single one has its two panels side by side instead.
    columns = [alt.vconcat(*panels[at : at + 2], spacing=24) for at in range(0, len(panels), 2)]
    both = alt.hconcat(*(panels if len(columns) == 1 else columns), spacing=32)
    chart: alt.HConcatChart = both.properties(
        title=heading(
            f"{phase.capitalize()} of Llama-3-8B on an A10, one request at a time",
            subtitle,
        )
    )
    return chart


def _per_token(rows: Sequence[Row], phase: str, title: str) -> Layers:
    scale, ticks = linear([row["ms"] for row in rows])
    base = inline(rows).encode(
        x=_lengths(rows, phase),
        y=alt.Y(
            "ms:Q",
            title=f"ms per {WORDS[phase]} token",
            scale=scale,
            axis=axis_of(ticks),
        ),
        tooltip=["form:N", "tokens:Q", alt.Tooltip("seconds:Q", format=",.3f")],
    )
    return _lines_and_points(base, list(FORMS)).properties(title=title, width=300, height=190)


def _errors(rows: Sequence[Row], phase: str, title: str) -> Layers:
    scale, ticks = linear([row["error"] for row in rows])
    signed = axis_of(ticks, "+.3~%", labelExpr="datum.value == 0 ? '0%' : datum.label")
    base = inline(rows).encode(
        x=_lengths(rows, phase),
        y=alt.Y("error:Q", title="error of the prediction", axis=signed, scale=scale),
        tooltip=["form:N", "tokens:Q", alt.Tooltip("error:Q", format="+.2%")],
    )
    zero = alt.Chart(alt.InlineData(values=[{"y": 0}])).mark_rule(color=GREY).encode(y="y:Q")
    chart: Layers = alt.layer(zero, _lines_and_points(base, list(FORMS))).properties(
        title=title, width=300, height=190
    )
    return chart


def _lengths(rows: Sequence[Row], phase: str) -> alt.X:
    values = sorted({row["tokens"] for row in rows})
    title = f"{WORDS[phase]} tokens (log)"
    axis = alt.Axis(values=values, format=",", labelAngle=-40)
    return alt.X("tokens:Q", title=title, scale=alt.Scale(type="log", nice=False), axis=axis)


def inline(rows: Sequence[Row]) -> alt.Chart:
    return alt.Chart(alt.InlineData(values=list(rows)))


def _lines_and_points(base: alt.Chart, names: Sequence[str]) -> Layers:
    return marked(base, "form", {name: FORMS[name] for name in names})


def marked(base: alt.Chart, field: str, looks: Mapping[str, Look]) -> Layers:
    """Lines with points, told apart by colour, dashes and symbols; one legend."""
    legend = alt.Legend(title=None, orient="top", symbolSize=90)
    colour = alt.Scale(domain=list(looks), range=[colour for colour, _, _ in looks.values()])
    shape = alt.Scale(domain=list(looks), range=[shape for _, shape, _ in looks.values()])
    tint = alt.Color(f"{field}:N", scale=colour, legend=legend)
    # A layer for each line: dashes that are encoded would also frame the legend's symbols.
    lines = [
        base.transform_filter(alt.datum[field] == name)
        .mark_line(strokeDash=dash)
        .encode(color=tint)
        for name, (_, _, dash) in looks.items()
    ]
    points = base.mark_point(filled=True, size=55, opacity=1).encode(
        color=tint, shape=alt.Shape(f"{field}:N", scale=shape, legend=legend)
    )
    chart: Layers = alt.layer(*lines, points)
    return chart


def heading(text: str, *lines: str) -> alt.TitleParams:
    """A title with what it holds for below it; empty lines are left out."""
    shown = [line for line in lines if line]
    return alt.TitleParams(text, subtitle=shown, anchor="start", offset=12)


def export_cost(rows: Sequence[Row], conditions: str) -> Layers:
    """Wall seconds over the export rate, both logarithmic; published points where there are."""
    names = {
        "wall_s": "servetwin, to Parquet",
        "memory_s": "servetwin, in memory",
        "published_s": "Kavier, published",
    }
    long = [
        {"rate": row["export_rate_s"], "seconds": row[key], "series": name, "n": row["fragments"]}
        for key, name in names.items()
        for row in rows
        if row[key]
    ]
    shown = [name for name in names.values() if any(row["series"] == name for row in long)]
    looks = {
        names["wall_s"]: (BLUE, "triangle-up", [1, 0]),
        names["memory_s"]: (SKY, "circle", [2, 2]),
        names["published_s"]: (VERMILLION, "square", [6, 3]),
    }
    rates = sorted({row["rate"] for row in long})
    base = alt.Chart(alt.InlineData(values=long)).encode(
        x=alt.X(
            "rate:Q",
            title="export rate (s a fragment, log)",
            scale=alt.Scale(type="log", reverse=True, nice=False),
            axis=alt.Axis(values=rates, format="~g"),
        ),
        y=alt.Y(
            "seconds:Q",
            title="wall time (s, log)",
            scale=alt.Scale(type="log"),
            axis=alt.Axis(values=[10.0**power for power in range(-4, 5)], format="~g"),
        ),
        tooltip=[
            "series:N",
            "rate:Q",
            alt.Tooltip("seconds:Q", format=",.3~g"),
            alt.Tooltip("n:Q", title="fragments", format=","),
        ],
    )
    chart: Layers = marked(base, "series", {name: looks[name] for name in shown})
    beside = "published: another machine, and Kavier's own simulator"
    return chart.properties(
        title=heading(
            "Cost of the export rate", conditions, beside if names["published_s"] in shown else ""
        ),
        width=400,
        height=260,
    )


def decades(values: Sequence[float]) -> dict[str, Any]:
    """A logarithmic scale around positive `values`, and an axis with few ticks."""
    low, high = min(values) / 1.3, max(values) * 1.3
    steps = (1, 2, 5) if high / low < 100 else (1,)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [step * 10.0**power for power in powers for step in steps]
    scale = alt.Scale(type="log", domain=[low, high], nice=False)
    shown = [tick for tick in ticks if low <= tick <= high]
    return {"scale": scale, "axis": alt.Axis(values=shown, format=",~g")}


def axis_of(ticks: Sequence[float], format: str = ",.6~g", **more: Any) -> alt.Axis:
    """An axis with a label at each of these few ticks."""
    # With fewer in mind, Vega would thin the ticks out.
    few: dict[str, Any] = {"tickCount": len(ticks), "labelOverlap": False}
    return alt.Axis(values=list(ticks), format=format, **few, **more)


def linear(values: Sequence[float]) -> tuple[alt.Scale, list[float]]:
    """A scale from 0 to beyond `values`, and its ticks.

    Neither a label nor a symbol reaches over the frame, so that titles beside each other stand
    at one height.
    """
    low, high = min(0.0, *values), max(0.0, *values)
    span = (high - low) or 1.0
    unit = 10.0 ** math.floor(math.log10(span / 4))
    step = next(factor * unit for factor in (1, 2, 5, 10) if span / (factor * unit) <= 7)
    # Values on a tick need none beyond it, whatever a division does to their last digit.
    first = math.floor(low / step + 1e-9)
    last = math.ceil((high if high > low else 1.0) / step - 1e-9)
    room = 0.05 * (last - first) * step
    ticks = [number * step for number in range(first, last + 1)]
    domain = [ticks[0] - room if first < 0 else 0.0, ticks[-1] + room]
    return alt.Scale(domain=domain, nice=False), ticks
