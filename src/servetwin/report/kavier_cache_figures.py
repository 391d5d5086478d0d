"""Charts of what caches save in Kavier's experiments: hours, energy, power and dollars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import altair as alt

from servetwin.report.figures import BLUE, GREEN, PURPLE, VERMILLION
from servetwin.report.kavier_figures import (
    BLACK,
    GREY,
    ORANGE,
    SKY,
    Layers,
    Row,
    axis_of,
    decades,
    heading,
    inline,
    linear,
)

__all__ = ["kv_energy", "kv_hours", "power_over_time", "prompt_caches"]

EIGHT_COLOURS = [BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, GREY, "#8B5A2B"]
EIGHT_DASHES = [[6, 3], [2, 2], [8, 3, 2, 3], [4, 1], [1, 3], [10, 4], [3, 3], [6, 2, 1, 2]]


def kv_hours(rows: Sequence[Row], conditions: str) -> alt.HConcatChart:
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
        base = inline(here).encode(
            x=alt.X("hours:Q", title="GPU hours (log)", **decades([r["hours"] for r in here])),
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
        title=heading("GPU hours with and without KV cache", conditions)
    )
    return chart


def kv_energy(rows: Sequence[Row], names: Sequence[str], conditions: str) -> alt.HConcatChart:
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
        x = alt.X("kwh:Q", title="kWh (log)", **decades(everything))
        tint = alt.Color("kv:N", scale=colour, legend=_top("KV cache"))
        band = inline(here).mark_rule(strokeWidth=5, opacity=0.25)
        band = band.encode(y=y, x=alt.X("kwh_low:Q"), x2="kwh_high:Q", color=tint)
        dots = (
            inline(each)
            .mark_tick(thickness=1.5, height=11)
            .encode(
                x=x,
                y=y,
                color=tint,
                tooltip=["at:N", "model:N", alt.Tooltip("kwh:Q", format=",.2f")],
            )
        )
        meta = inline(here).mark_point(
            shape="diamond", filled=True, size=90, color=BLACK, opacity=1
        )
        meta = meta.encode(x="kwh:Q", y=y, tooltip=["at:N", alt.Tooltip("kwh:Q", format=",.2f")])
        panels.append(alt.layer(band, dots, meta).properties(title=form, width=260, height=240))
    chart: alt.HConcatChart = alt.hconcat(*panels, spacing=24).properties(
        title=heading(
            "Energy with and without KV cache",
            conditions,
            "ticks: eight power models; bar: their band; diamond: the meta-model",
        )
    )
    return chart


def power_over_time(
    bands: Mapping[str, Sequence[Row]], names: Sequence[str], conditions: str
) -> alt.VConcatChart:
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
        area = inline([{**row, "t": row["t_s"]} for row in rows]).mark_area(
            opacity=0.12, color=GREY
        )
        area = area.encode(x=x, y=alt.Y("low:Q", title="watts of the GPU"), y2="high:Q")
        lines = (
            inline(long)
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
        title=heading(
            "Power of the first requests, Llama-3-8B by servetwin",
            conditions,
            "grey: from the least to the most of the eight power models",
        )
    )
    return chart


def prompt_caches(
    performance: Sequence[Row], power: Mapping[str, Sequence[Row]], conditions: str
) -> alt.ConcatChart:
    """Hits, prefill hours, energy and dollars over the cache size, a line for each prefix size.

    Published values are rings. The run without cache is left to the tables.
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
        _cache_panel(
            hits, "Prompts that hit (the same by both)", "% of all prompts", "published_hit_percent"
        ),
        _cache_panel(hours, "Prefill", "GPU hours", "published_h"),
        _cache_panel(costs["kwh"], "Energy of prefill", "kWh", band=band),
    ]
    dollars = costs["usd_per_million_tokens"]
    if all(row["y"] is not None for row in dollars):
        panels.append(_cache_panel(dollars, "Efficiency", "$ per million input tokens"))
    known = any(row["published_h"] is not None for row in performance)
    rings = "rings: published; " if known else ""
    chart: alt.ConcatChart = (
        alt.concat(*panels, columns=2, spacing=28)
        .resolve_scale(y="independent")
        .properties(
            title=heading(
                "Caches of prompts, one LRU over all sessions",
                conditions,
                f"{rings}grey: least and most of the eight power models, servetwin, "
                f"{performance[0]['prefix']} tokens",
            )
        )
    )
    return chart


def _cache_panel(
    rows: Sequence[Row],
    title: str,
    unit: str,
    published: str | None = None,
    band: Sequence[Row] = (),
) -> Layers:
    known = [
        row for row in rows if published and row[published] is not None and row["form"] == "kavier"
    ]
    scale, ticks = linear(
        [row["y"] for row in rows]
        + [row[str(published)] for row in known]
        + [row["kwh_high"] for row in band]
    )
    prefixes = [str(n) for n in sorted({int(row["prefix"]) for row in rows})]
    colours = [BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK, GREY]
    shapes = ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down"]
    base = inline(rows).encode(
        x=_cache_sizes(rows),
        y=alt.Y("y:Q", title=unit, scale=scale, axis=axis_of(ticks)),
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
        *([_cache_band(band)] if band else []),
        base.mark_line().encode(strokeDash=dash),
        base.mark_point(filled=True, size=45, opacity=1).encode(shape=shape),
    ]
    if known:
        rings = alt.Chart(alt.InlineData(values=known)).mark_point(size=150, color=BLACK)
        layers.append(rings.encode(x=_cache_sizes(rows), y=alt.Y(f"{published}:Q")))
    chart: Layers = alt.layer(*layers).properties(title=title, width=320, height=200)
    return chart


def _cache_sizes(rows: Sequence[Row]) -> alt.X:
    return alt.X(
        "prompts:O",
        title="prompts that the cache keeps",
        sort=[str(n) for n in sorted({int(row["prompts"]) for row in rows})],
        axis=alt.Axis(labelAngle=0),
    )


def _cache_band(rows: Sequence[Row]) -> alt.Chart:
    area: alt.Chart = inline(rows).mark_area(opacity=0.15, color=GREY)
    return area.encode(x=_cache_sizes(rows), y=alt.Y("kwh_low:Q"), y2="kwh_high:Q")


def _cycled(values: Sequence[str], count: int) -> list[str]:
    return [values[number % len(values)] for number in range(count)]


def _top(title: str) -> alt.Legend:
    return alt.Legend(title=title, orient="top", symbolSize=90, symbolOpacity=1)
