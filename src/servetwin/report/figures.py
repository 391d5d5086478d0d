"""Charts, for the HTML page and for PNG or SVG files. Colours are Okabe and Ito's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
from numpy.typing import NDArray

from servetwin.errors import InputError
from servetwin.report import series
from servetwin.report.png import recompressed
from servetwin.results.output import replace_file
from servetwin.types import RequestTable, RunResult

__all__ = [
    "batch_over_time",
    "chart_of",
    "colour_of",
    "dashes_of",
    "kv_over_time",
    "latency_cdf",
    "latency_over_time",
    "log_axis",
    "power_over_time",
    "save",
    "share_scale",
    "time_unit",
    "tokens_over_time",
]

BLUE, VERMILLION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
PALETTE = [BLUE, VERMILLION, GREEN, PURPLE]
SUFFIXES = (".png", ".svg", ".html")

TITLES = {"ttft": "TTFT", "tpot": "TPOT", "queue": "Queue time", "e2e": "E2E latency"}

Chart = (
    alt.Chart
    | alt.LayerChart
    | alt.FacetChart
    | alt.ConcatChart
    | alt.HConcatChart
    | alt.VConcatChart
)
Lines = dict[str, NDArray[np.float64]]


def latency_cdf(table: RequestTable, name: str) -> alt.Chart:
    """Share of completed requests whose latency is at most x. `name`: ttft, tpot, queue, e2e."""
    x, share = series.cdf(table, name)
    x = x * (1.0 if name == "e2e" else 1e3)
    unit = "s" if name == "e2e" else "ms"
    rows = [{"x": a, "share": b} for a, b in zip(x.tolist(), share.tolist(), strict=True)]
    chart: alt.Chart = (
        chart_of(rows, TITLES[name])
        .mark_line(interpolate="step-after", color=BLUE, clip=True, point=len(rows) == 1)
        .encode(
            x=alt.X("x:Q", title=f"{TITLES[name]} ({unit}, log)", **log_axis(x)),
            y=alt.Y("share:Q", title="requests", axis=alt.Axis(format="%"), scale=share_scale()),
            tooltip=[
                alt.Tooltip("x:Q", title=f"at most ({unit})", format=",.4~g"),
                alt.Tooltip("share:Q", title="requests", format=".3%"),
            ],
        )
    )
    return chart


def latency_over_time(table: RequestTable, name: str) -> alt.Chart:
    """Median and 99th percentile of a latency, by the time at which requests arrived."""
    found = series.latency_over_time(table, name)
    lines = {percentile: found[percentile] * 1e3 for percentile in ("p50", "p99")}
    title = TITLES[name]
    return _over_time(found["t"], lines, title, f"{title} (ms, log)", "time of arrival", True)


def batch_over_time(run: RunResult) -> alt.Chart:
    """Requests running and waiting; without a timeline, requests in flight."""
    if run.timeline is None:
        t, count = series.in_flight(run.requests)
        return _over_time(t, {"in flight": count}, "Requests in flight", "requests")
    found = series.states(run.timeline)
    lines = {"running": found.running, "waiting": found.waiting}
    return _over_time(found.t, lines, "Running and waiting requests", "requests, all replicas")


def kv_over_time(run: RunResult) -> alt.Chart | None:
    """Share of the KV blocks in use; None without a timeline or a known capacity."""
    if run.timeline is None or not run.kv_capacity_blocks:
        return None
    found = series.states(run.timeline)
    # Of one microbatch, where there are several: the timeline has all of a replica together.
    capacity = run.kv_capacity_blocks * (run.pipeline["microbatches"] if run.pipeline else 1)
    if run.kv_decode is not None or run.groups is not None:
        lines = series.shares_of_parts(run.timeline, _parts(run, capacity))
    else:
        lines = {"all replicas": found.kv_blocks / (capacity * max(found.replicas, 1))}
        if found.replicas > 1:
            lines["fullest replica"] = found.kv_blocks_fullest / capacity
    chart = _over_time(found.t, lines, "KV cache in use", "blocks in use")
    chart.encoding.y = alt.Y(
        "value:Q", title="blocks in use", axis=alt.Axis(format="%"), scale=share_scale()
    )
    return chart


def _parts(run: RunResult, capacity: int) -> dict[str, tuple[int, int]]:
    """First replica of each pool or group, and the KV blocks of each of its replicas."""
    if run.kv_decode is not None:
        decode = run.kv_decode
        blocks = decode["capacity_blocks"] * decode.get("microbatches", 1)
        return {"prefill pool": (0, capacity), "decode pool": (decode["first"], blocks)}
    return {
        f"group {number}, {group['gpu']}": (group["first"], group["capacity_blocks"])
        for number, group in enumerate(run.groups or (), 1)
    }


def tokens_over_time(run: RunResult) -> alt.Chart | None:
    """Prefill and decode tokens per second; None without a timeline."""
    if run.timeline is None:
        return None
    found = series.states(run.timeline)
    lines = {"prefill": found.prefill_rate, "decode": found.decode_rate}
    return _over_time(found.t, lines, "Tokens per second", "tokens/s, all replicas")


def power_over_time(run: RunResult) -> alt.Chart | None:
    """Watts of all devices; None where they are not known."""
    found = None if run.timeline is None else series.states(run.timeline)
    if found is None or found.watts is None:
        return None
    return _over_time(found.t, {"power": found.watts}, "Power", "W, all devices")


def save(chart: Chart, path: Path) -> None:
    """Write a chart as .png, .svg or offline .html, by the suffix of `path`.

    Raises InputError for another suffix or where writing fails.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"figure '{path}' must end in {', '.join(SUFFIXES)}")
    shown = styled(chart)

    def write(partial: Path) -> None:
        options: dict[str, Any] = {".png": {"scale_factor": 2}, ".html": {"inline": True}}
        shown.save(str(partial), format=suffix[1:], **options.get(suffix, {}))
        if suffix == ".png":
            partial.write_bytes(recompressed(partial.read_bytes()))

    replace_file(path, write)


def styled(chart: Any) -> Any:
    """Return `chart` with the look of all figures: light, few lines, white background."""
    return (
        chart.configure(background="white", font="sans-serif")
        .configure_axis(grid=True, gridOpacity=0.4, domainOpacity=0.5, labelOverlap=True)
        .configure_view(strokeOpacity=0)
        .configure_line(strokeWidth=2)
    )


def _over_time(
    t: NDArray[np.float64],
    lines: Lines,
    title: str,
    y_title: str,
    x_title: str = "time",
    log: bool = False,
) -> alt.Chart:
    length, unit = time_unit(float(t[-1]) if t.size else 0.0)
    rows = [
        {"t": at, "value": value, "series": label}
        for label, values in lines.items()
        for at, value in zip((t / length).tolist(), values.tolist(), strict=True)
        if value > 0 or not log
    ]
    everything = np.concatenate(list(lines.values())) if lines else np.empty(0)
    y_options = log_axis(everything) if log else {"scale": alt.Scale(zero=True, nice=True)}
    chart: alt.Chart = (
        chart_of(rows, title)
        .mark_line(point=t.size == 1)
        .encode(
            x=alt.X("t:Q", title=f"{x_title} ({unit})", scale=alt.Scale(nice=False)),
            y=alt.Y("value:Q", title=y_title, **y_options),
            color=colour_of(lines),
            strokeDash=dashes_of(lines),
            tooltip=[
                "series:N",
                alt.Tooltip("t:Q", title=f"{x_title} ({unit})", format=",.4~g"),
                alt.Tooltip("value:Q", title=y_title, format=",.4~g"),
            ],
        )
    )
    return chart


def chart_of(rows: list[dict[str, Any]], title: str) -> alt.Chart:
    return alt.Chart(alt.InlineData(values=rows), title=title, width=380, height=220)


def colour_of(lines: dict[str, Any]) -> alt.Color:
    scale = alt.Scale(domain=list(lines), range=PALETTE[: len(lines)])
    return alt.Color("series:N", scale=scale, legend=_legend(lines))


def dashes_of(lines: dict[str, Any]) -> alt.StrokeDash:
    """Tell the lines apart without colour too."""
    dashes = [[1, 0], [6, 3], [2, 2], [8, 3, 2, 3]]
    scale = alt.Scale(domain=list(lines), range=dashes[: len(lines)])
    return alt.StrokeDash("series:N", scale=scale, legend=_legend(lines))


def _legend(lines: dict[str, Any]) -> alt.Legend | None:
    """A legend above the chart that shows each line's dashes; none for a single line."""
    if len(lines) == 1:
        return None
    return alt.Legend(title=None, orient="top", symbolType="stroke", symbolSize=250, offset=4)


def log_axis(values: NDArray[np.float64]) -> dict[str, Any]:
    """A logarithmic scale over the positive values, at least a factor of two wide, and its axis.

    Vega labels what fits of 1 to 9 in each decade, which leaves odd gaps; a scale of more
    than half a decade is therefore labelled at a few fixed multiples.
    """
    positive = values[values > 0]
    low, high = (float(positive.min()), float(positive.max())) if positive.size else (1.0, 10.0)
    if high < 2 * low:
        low, high = low / 1.5, high * 1.5
    scale = alt.Scale(type="log", domain=[low, high], nice=False)
    decades = np.log10(high / low)
    if decades < 0.5:
        return {"scale": scale}
    few = (1, 2, 5) if decades <= 2 else (1, 3) if decades <= 4 else (1,)
    steps = (1, 1.5, 2, 3, 4, 5, 7) if decades < 1 else few
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    ticks = [step * 10.0**power for power in powers for step in steps]
    shown = [tick for tick in ticks if low <= tick <= high]
    return {"scale": scale, "axis": alt.Axis(values=shown, format=",~g")}


def share_scale() -> alt.Scale:
    """An axis from nothing to all."""
    return alt.Scale(domain=[0, 1])


def time_unit(seconds: float) -> tuple[float, str]:
    """Seconds and name of the unit that suits an axis of so many seconds."""
    for length, unit in ((86_400.0, "days"), (3_600.0, "h"), (60.0, "min")):
        if seconds >= 3 * length:
            return length, unit
    return 1.0, "s"
