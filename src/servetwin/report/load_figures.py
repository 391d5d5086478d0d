"""Charts of a load curve: small multiples over the offered request rate."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import numpy as np

from servetwin.report.figures import chart_of, colour_of, dashes_of, log_axis
from servetwin.results.load import LoadPoint, knee

__all__ = ["load_curve", "load_panels"]

Panel = alt.LayerChart


def load_panels(points: Sequence[LoadPoint]) -> dict[str, Panel]:
    """Latency and throughput by offered request rate, with the knee marked, by short names.

    TTFT, TPOT and E2E (p50 and p99, logarithmic), output tokens/s, and requests/s completed
    and, with an SLO, within it.
    """
    points = sorted(points, key=lambda point: point.offered_rps)
    rates = {"completed": "completed_rps"}
    if any(point.goodput_rps is not None for point in points):
        rates["within SLO"] = "goodput_rps"
    drawn = {
        "ttft": ("TTFT", "ms, log", {"p50": "ttft_p50_ms", "p99": "ttft_p99_ms"}),
        "tpot": ("TPOT", "ms, log", {"p50": "tpot_p50_ms", "p99": "tpot_p99_ms"}),
        "e2e": ("E2E latency", "s, log", {"p50": "e2e_p50_s", "p99": "e2e_p99_s"}),
        "throughput": ("Throughput", "tokens/s", {"output tokens": "throughput_token_s"}),
        "requests": ("Requests", "requests/s", rates),
    }
    return {name: _panel(points, *what) for name, what in drawn.items()}


def load_curve(
    points: Sequence[LoadPoint], title: str = "", subtitles: Sequence[str] = ()
) -> alt.ConcatChart:
    """All panels in one figure, two to a row; the last line above them tells of the knee."""
    bend = knee(points)
    text = "No knee: it takes three rates at which requests complete"
    if bend is not None:
        text = f"Dashed: the knee at {bend.offered_rps:g} requests/s (most throughput per latency)"
    lines = alt.TitleParams(title or "Load curve", subtitle=[*subtitles, text])
    lines.anchor, lines.offset, lines.subtitlePadding = "start", 14, 4
    chart: alt.ConcatChart = (
        alt.concat(*load_panels(points).values(), columns=2)
        .resolve_scale(color="independent", strokeDash="independent")
        .properties(title=lines)
    )
    return chart


def _panel(points: list[LoadPoint], title: str, unit: str, columns: dict[str, str]) -> Panel:
    bend = knee(points)
    offered = np.array([point.offered_rps for point in points])
    rows = [
        {"x": point.offered_rps, "value": value, "series": label}
        for label, column in columns.items()
        for point in points
        if (value := getattr(point, column)) is not None and (value > 0 or "log" not in unit)
    ]
    values = np.array([row["value"] for row in rows])
    wide = offered.size > 0 and offered.min() > 0 and offered.max() / offered.min() >= 8
    x_scale = alt.Scale(type="log", nice=False) if wide else alt.Scale(zero=False)
    ticks = alt.Axis(values=offered.tolist()) if offered.size <= 12 else alt.Axis()
    base = chart_of(rows, title).encode(
        x=alt.X("x:Q", title="offered requests/s", scale=x_scale, axis=ticks),
        y=alt.Y("value:Q", title=unit, **(log_axis(values) if "log" in unit else {})),
        color=colour_of(columns),
        tooltip=["series:N", alt.Tooltip("x:Q", title="offered"), "value:Q"],
    )
    lines = base.mark_line(point=alt.OverlayMarkDef(size=40)).encode(strokeDash=dashes_of(columns))
    marks = [] if bend is None else [{"x": bend.offered_rps}]
    rule = alt.Chart(alt.InlineData(values=marks)).mark_rule(strokeDash=[5, 4], color="#888888")
    rule = rule.encode(x=alt.X("x:Q", scale=x_scale))
    return alt.LayerChart(layer=[rule, lines]).properties(title=title, width=300, height=180)
