"""Charts of Kavier's experiments. Rows are plain values, as the experiments' tables have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from servetwin.report.figures import BLUE, GREEN, PURPLE, VERMILLION

__all__ = ["accuracy"]

ORANGE, SKY, BLACK, GREY = "#E69F00", "#56B4E9", "#000000", "#666666"
Row = Mapping[str, Any]

FORMS = {
    "measured": (BLACK, "circle", [1, 0]),
    "kavier": (VERMILLION, "square", [6, 3]),
    "servetwin": (BLUE, "triangle-up", [1, 0]),
}
"""Colour, symbol and dashes of what is compared."""


def accuracy(phase: str, rows: Sequence[Row]) -> alt.HConcatChart:
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
        panels.append(_errors([row for row in here if row["form"] != "measured"], suffix))
    columns = [alt.vconcat(*panels[at : at + 2], spacing=24) for at in range(0, len(panels), 2)]
    if len(columns) == 1:
        columns = panels
    chart: alt.HConcatChart = alt.hconcat(*columns, spacing=32).properties(
        title=_heading(
            f"{phase.capitalize()} of Llama-3-8B on an A10, one request at a time",
            "servetwin: each point by a fit to other lengths",
        )
    )
    return chart


def _per_token(rows: Sequence[Row], phase: str, title: str) -> alt.LayerChart:
    word = "input" if phase == "prefill" else "output"
    base = _base(rows).encode(
        x=_lengths(rows, word),
        y=alt.Y("ms:Q", title=f"ms per {word} token", scale=alt.Scale(zero=True, nice=True)),
        tooltip=["form:N", "tokens:Q", alt.Tooltip("seconds:Q", format=",.3f")],
    )
    return _lines_and_points(base, list(FORMS)).properties(title=title, width=300, height=190)


def _errors(rows: Sequence[Row], suffix: str) -> alt.LayerChart:
    base = _base(rows).encode(
        x=_lengths(rows, "tokens", bare=True),
        y=alt.Y("error:Q", title="predicted / measured − 1", axis=alt.Axis(format="+%")),
        tooltip=["form:N", "tokens:Q", alt.Tooltip("error:Q", format="+.2%")],
    )
    zero = alt.Chart(alt.InlineData(values=[{"y": 0}])).mark_rule(color=GREY).encode(y="y:Q")
    chart: alt.LayerChart = alt.layer(zero, _lines_and_points(base, list(FORMS))).properties(
        title=f"Error{suffix}", width=300, height=190
    )
    return chart


def _lengths(rows: Sequence[Row], word: str, bare: bool = False) -> alt.X:
    values = sorted({row["tokens"] for row in rows})
    title = f"{word if bare else word + ' tokens'} (log)"
    axis = alt.Axis(values=values, format=",", labelAngle=-40)
    return alt.X("tokens:Q", title=title, scale=alt.Scale(type="log", nice=False), axis=axis)


def _base(rows: Sequence[Row]) -> alt.Chart:
    return alt.Chart(alt.InlineData(values=list(rows)))


def _lines_and_points(base: alt.Chart, names: Sequence[str]) -> alt.LayerChart:
    """Lines told apart by colour, dashes and symbols; one legend."""
    legend = alt.Legend(title=None, orient="top", symbolSize=90, symbolStrokeWidth=0)
    colour = alt.Scale(domain=list(names), range=[FORMS[name][0] for name in names])
    shape = alt.Scale(domain=list(names), range=[FORMS[name][1] for name in names])
    dash = alt.Scale(domain=list(names), range=[FORMS[name][2] for name in names])
    lines = base.mark_line().encode(
        color=alt.Color("form:N", scale=colour, legend=legend),
        strokeDash=alt.StrokeDash("form:N", scale=dash, legend=None),
    )
    points = base.mark_point(filled=True, size=55, opacity=1).encode(
        color=alt.Color("form:N", scale=colour, legend=legend),
        shape=alt.Shape("form:N", scale=shape, legend=legend),
    )
    chart: alt.LayerChart = alt.layer(lines, points)
    return chart


def _heading(text: str, subtitle: str = "") -> alt.TitleParams:
    return alt.TitleParams(text, subtitle=subtitle, anchor="start", offset=12)
