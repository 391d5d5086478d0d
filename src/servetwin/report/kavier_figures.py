"""Charts of Kavier's experiments. Rows are plain values, as the experiments' tables have them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from servetwin.report.figures import BLUE, GREEN, PURPLE, VERMILLION

__all__ = ["accuracy", "export_cost", "kv_energy", "kv_hours", "power_over_time", "prompt_caches"]

ORANGE, SKY, BLACK, GREY = "#E69F00", "#56B4E9", "#000000", "#666666"
EIGHT_COLOURS = [BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, GREY, "#8B5A2B"]
EIGHT_DASHES = [[6, 3], [2, 2], [8, 3, 2, 3], [4, 1], [1, 3], [10, 4], [3, 3], [6, 2, 1, 2]]
Row = Mapping[str, Any]
Look = tuple[str, str, list[int]]
"""Colour, symbol and dashes."""

FORMS: dict[str, Look] = {
    "measured": (BLACK, "circle", [1, 0]),
    "kavier": (VERMILLION, "square", [6, 3]),
    "servetwin": (BLUE, "triangle-up", [1, 0]),
}


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
        y=alt.Y("error:Q", title="error of the prediction", axis=alt.Axis(format="+%")),
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
    return _marked(base, "form", {name: FORMS[name] for name in names})


def _marked(base: alt.Chart, field: str, looks: Mapping[str, Look]) -> alt.LayerChart:
    """Lines with points, told apart by colour, dashes and symbols; one legend."""
    legend = alt.Legend(title=None, orient="top", symbolSize=90, symbolDash=[1, 0])
    domain, styles = list(looks), list(looks.values())
    colour = alt.Scale(domain=domain, range=[colour for colour, _, _ in styles])
    shape = alt.Scale(domain=domain, range=[shape for _, shape, _ in styles])
    dash = alt.Scale(domain=domain, range=[dash for _, _, dash in styles])
    lines = base.mark_line().encode(
        color=alt.Color(f"{field}:N", scale=colour, legend=legend),
        strokeDash=alt.StrokeDash(f"{field}:N", scale=dash, legend=None),
    )
    points = base.mark_point(filled=True, size=55, opacity=1).encode(
        color=alt.Color(f"{field}:N", scale=colour, legend=legend),
        shape=alt.Shape(f"{field}:N", scale=shape, legend=legend),
    )
    chart: alt.LayerChart = alt.layer(lines, points)
    return chart


def _heading(text: str, subtitle: str = "") -> alt.TitleParams:
    return alt.TitleParams(text, subtitle=subtitle, anchor="start", offset=12)


def export_cost(rows: Sequence[Row]) -> alt.LayerChart:
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
    chart: alt.LayerChart = _marked(base, "series", {name: looks[name] for name in shown})
    return chart.properties(
        title=_heading(
            "Cost of the export rate",
            "published: another machine, and Kavier's own simulator",
        ),
        width=400,
        height=260,
    )


def kv_hours(rows: Sequence[Row]) -> alt.HConcatChart:
    """GPU hours by model: prefill beside decode, on a logarithmic axis."""
    long = [
        {"llm": row["llm"], "kv": row["kv"], "by": by, "phase": phase, "hours": hours}
        for row in rows
        for phase in ("prefill", "decode")
        for by, hours in (
            (row["form"], row[f"{phase}_h"]),
            ("published", row[f"published_{phase}_h"]),
        )
        if hours is not None
    ]
    shapes = {"published": "circle", "kavier": "square", "servetwin": "triangle-up"}
    shapes = {name: shape for name, shape in shapes.items() if any(r["by"] == name for r in long)}
    colour = alt.Scale(domain=["on", "off"], range=[BLUE, VERMILLION])
    models = list(dict.fromkeys(row["llm"] for row in rows))
    panels = []
    for phase, title in (("prefill", "prefill (the same with and without)"), ("decode", "decode")):
        here = [row for row in long if row["phase"] == phase]
        if phase == "prefill":
            here = [row for row in here if row["kv"] == "on"]
        base = _base(here).encode(
            x=alt.X("hours:Q", title="GPU hours (log)", **_decades([r["hours"] for r in here])),
            y=alt.Y("llm:N", title=None, sort=models),
            color=alt.Color("kv:N", scale=colour, legend=_top("KV cache")),
            shape=alt.Shape(
                "by:N",
                scale=alt.Scale(domain=list(shapes), range=list(shapes.values())),
                legend=_top("by"),
            ),
            tooltip=["llm:N", "kv:N", "by:N", alt.Tooltip("hours:Q", format=",.2f")],
        )
        # Published rings are larger, so that the value computed is seen inside them.
        rings = base.transform_filter("datum.by == 'published'").mark_point(size=170, opacity=1)
        points = base.transform_filter("datum.by != 'published'").mark_point(
            size=55, filled=True, opacity=1
        )
        panel = alt.layer(rings, points).properties(title=title, width=300, height=190)
        panels.append(panel)
    chart: alt.HConcatChart = alt.hconcat(*panels, spacing=24).properties(
        title=_heading("GPU hours with and without KV cache", "requests one after the other")
    )
    return chart


def kv_energy(rows: Sequence[Row], names: Sequence[str]) -> alt.HConcatChart:
    """Energy by model: what each of the eight power models says, their band, the meta-model."""
    colour = alt.Scale(domain=["on", "off"], range=[BLUE, VERMILLION])
    everything = [row[f"kwh_{name}"] for row in rows for name in names]
    panels = []
    for form in dict.fromkeys(row["form"] for row in rows):
        here = [{**row, "at": f"{row['llm']}, {row['kv']}"} for row in rows if row["form"] == form]
        each = [
            {"at": row["at"], "kv": row["kv"], "model": name, "kwh": row[f"kwh_{name}"]}
            for row in here
            for name in names
        ]
        y = alt.Y("at:N", title=None, sort=[row["at"] for row in here])
        x = alt.X("kwh:Q", title="kWh (log)", **_decades(everything))
        tint = alt.Color("kv:N", scale=colour, legend=_top("KV cache"))
        band = _base(here).mark_rule(strokeWidth=5, opacity=0.25)
        band = band.encode(y=y, x=alt.X("kwh_low:Q"), x2="kwh_high:Q", color=tint)
        dots = (
            _base(each)
            .mark_tick(thickness=1.5, height=11)
            .encode(
                x=x,
                y=y,
                color=tint,
                tooltip=["at:N", "model:N", alt.Tooltip("kwh:Q", format=",.2f")],
            )
        )
        meta = _base(here).mark_point(shape="diamond", filled=True, size=90, color=BLACK, opacity=1)
        meta = meta.encode(x="kwh:Q", y=y, tooltip=["at:N", alt.Tooltip("kwh:Q", format=",.2f")])
        panels.append(alt.layer(band, dots, meta).properties(title=form, width=260, height=240))
    chart: alt.HConcatChart = alt.hconcat(*panels, spacing=24).properties(
        title=_heading(
            "Energy with and without KV cache",
            "ticks: eight power models; bar: their band; diamond: the meta-model",
        )
    )
    return chart


def power_over_time(bands: Mapping[str, Sequence[Row]], names: Sequence[str]) -> alt.VConcatChart:
    """Watts of the eight models, their band and the meta-model; a panel for each KV setting."""
    order = [*names, "meta-model"]
    colour = alt.Scale(domain=order, range=[*EIGHT_COLOURS[: len(names)], BLACK])
    dash = alt.Scale(domain=order, range=[*EIGHT_DASHES[: len(names)], [1, 0]])
    legend = alt.Legend(title=None, orient="right", symbolType="stroke", symbolSize=250)
    panels = []
    for kv, rows in bands.items():
        long = [
            {"t": row["t_s"], "watts": row["meta" if name == "meta-model" else name], "by": name}
            for row in rows
            for name in order
        ]
        x = alt.X("t:Q", title="time (s)", scale=alt.Scale(nice=False))
        area = _base([{**row, "t": row["t_s"]} for row in rows]).mark_area(opacity=0.12, color=GREY)
        area = area.encode(x=x, y=alt.Y("low:Q", title="watts of the GPU"), y2="high:Q")
        lines = (
            _base(long)
            .mark_line(clip=True)
            .encode(
                x=x,
                y=alt.Y("watts:Q", scale=alt.Scale(zero=True)),
                color=alt.Color("by:N", scale=colour, legend=legend),
                strokeDash=alt.StrokeDash("by:N", scale=dash, legend=legend),
                strokeWidth=alt.condition("datum.by == 'meta-model'", alt.value(3), alt.value(1.3)),
                tooltip=[
                    "by:N",
                    alt.Tooltip("t:Q", format=".3~f"),
                    alt.Tooltip("watts:Q", format=".1f"),
                ],
            )
        )
        panels.append(
            alt.layer(area, lines).properties(title=f"KV cache {kv}", width=480, height=190)
        )
    chart: alt.VConcatChart = alt.vconcat(*panels, spacing=20).properties(
        title=_heading(
            "Power of the first requests, Llama-3-8B by servetwin",
            "grey: from the least to the most of the eight power models",
        )
    )
    return chart


def _top(title: str) -> alt.Legend:
    return alt.Legend(title=title, orient="top", symbolSize=90, symbolOpacity=1)


def _decades(values: Sequence[float]) -> dict[str, Any]:
    """A logarithmic scale over the decades that hold `values`, a tick for each of them."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    ticks = [10.0**power for power in range(low, max(high, low + 1) + 1)]
    scale = alt.Scale(type="log", domain=[ticks[0], ticks[-1]], nice=False)
    return {"scale": scale, "axis": alt.Axis(values=ticks, format=",~g")}


def prompt_caches(
    performance: Sequence[Row], power: Mapping[str, Sequence[Row]]
) -> alt.ConcatChart:
    """Hits, prefill hours, energy and dollars over the cache size, a line for each prefix size.

    Published values are rings. The run without cache is a dotted line of its own.
    """
    performance = [row for row in performance if row["prefix"] != "none"]
    lines = [("kavier", "kavier_h"), ("servetwin", "servetwin_h")]
    hours = [{**row, "form": form, "y": row[key]} for row in performance for form, key in lines]
    hits = [{**row, "form": "kavier", "y": row["hit_percent"]} for row in performance]
    costs = {
        key: [
            {**row, "form": form, "y": row[key]}
            for form, rows in power.items()
            for row in rows
            if row["prefix"] != "none"
        ]
        for key in ("kwh", "usd_per_million_tokens")
    }
    band = [row for row in power["servetwin"] if row["prefix"] == performance[0]["prefix"]]
    panels = [
        _cache_panel(hits, "Prompts that hit", "% of all prompts", "published_hit_percent"),
        _cache_panel(hours, "Prefill", "GPU hours", "published_h"),
        alt.layer(_cache_band(band), _cache_panel(costs["kwh"], "Energy of prefill", "kWh")),
        _cache_panel(costs["usd_per_million_tokens"], "Efficiency", "$ per million input tokens"),
    ]
    if any(row["y"] is None for row in costs["usd_per_million_tokens"]):
        panels.pop()
    chart: alt.ConcatChart = (
        alt.concat(*panels, columns=2, spacing=28)
        .resolve_scale(y="independent")
        .properties(
            title=_heading(
                "Caches of prompts, one LRU over all sessions",
                "rings: published; grey: least and most of the eight power models, "
                f"servetwin, {performance[0]['prefix']} tokens",
            )
        )
    )
    return chart


def _cache_panel(
    rows: Sequence[Row], title: str, unit: str, published: str | None = None
) -> alt.LayerChart:
    prefixes = [str(n) for n in sorted({int(row["prefix"]) for row in rows})]
    colours = [BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK, GREY]
    shapes = ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down"]
    base = _base(rows).encode(
        x=_cache_sizes(rows),
        y=alt.Y("y:Q", title=unit, scale=alt.Scale(zero=True, nice=True)),
        color=alt.Color(
            "prefix:N",
            scale=alt.Scale(domain=prefixes, range=_cycled(colours, len(prefixes))),
            legend=alt.Legend(title="prefix tokens", orient="top", symbolDash=[1, 0]),
        ),
        tooltip=["prefix:N", "prompts:N", "form:N", alt.Tooltip("y:Q", title=unit, format=",.4~f")],
    )
    dash = alt.StrokeDash(
        "form:N",
        scale=alt.Scale(domain=["servetwin", "kavier"], range=[[1, 0], [6, 3]]),
        legend=alt.Legend(title="by", orient="top", symbolType="stroke", symbolSize=250),
    )
    shape = alt.Shape(
        "prefix:N", scale=alt.Scale(domain=prefixes, range=_cycled(shapes, len(prefixes)))
    )
    layers = [
        base.mark_line().encode(strokeDash=dash),
        base.mark_point(filled=True, size=45, opacity=1).encode(shape=shape),
    ]
    if published is not None:
        known = [row for row in rows if row[published] is not None and row["form"] == "kavier"]
        rings = alt.Chart(alt.InlineData(values=known)).mark_point(size=150, color=BLACK)
        layers.append(rings.encode(x=_cache_sizes(rows), y=alt.Y(f"{published}:Q")))
    chart: alt.LayerChart = alt.layer(*layers).properties(title=title, width=320, height=200)
    return chart


def _cache_sizes(rows: Sequence[Row]) -> alt.X:
    return alt.X(
        "prompts:O",
        title="prompts that the cache keeps",
        sort=[str(n) for n in sorted({int(row["prompts"]) for row in rows})],
        axis=alt.Axis(labelAngle=0),
    )


def _cache_band(rows: Sequence[Row]) -> alt.Chart:
    area: alt.Chart = _base(rows).mark_area(opacity=0.15, color=GREY)
    return area.encode(x=_cache_sizes(rows), y=alt.Y("kwh_low:Q"), y2="kwh_high:Q")


def _cycled(values: Sequence[str], count: int) -> list[str]:
    return [values[number % len(values)] for number in range(count)]
