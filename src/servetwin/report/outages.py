"""When engines were down, behind the figures over time."""

from __future__ import annotations

from typing import Any

import altair as alt

from servetwin.report import series
from servetwin.report.figures import time_unit
from servetwin.types import RunResult
from servetwin.units import PS_PER_S

__all__ = ["shaded"]


def shaded(charts: dict[str, alt.Chart | None], run: RunResult) -> dict[str, Any]:
    """Shade the outages that the summary names in charts over the time of a run."""
    bands = _bands(run)
    if not bands:
        return dict(charts)
    return {name: _shaded(chart, bands) if chart else None for name, chart in charts.items()}


def _bands(run: RunResult) -> list[dict[str, Any]]:
    """From when to when which engine was down, in the unit of the axis and no longer than that."""
    if run.failures is None or run.timeline is None:
        return []
    t = series.states(run.timeline).t
    if not t.size:
        return []
    length, unit = time_unit(float(t[-1]))  # as the charts choose it
    end = float(run.timeline.t[-1]) / PS_PER_S
    bands = []
    for outage in run.failures["outages"]:
        failed, back = outage["failed_s"], outage["back_s"]
        if failed < end:
            engine = f"engine {outage['engine']} down for {back - failed:,.4g} s"
            band = {"from": failed / length, "to": min(back, end) / length, "unit": unit}
            bands.append({"engine": engine, **band})
    return bands


def _shaded(chart: alt.Chart, bands: list[dict[str, Any]]) -> alt.LayerChart:
    behind = (
        alt.Chart(alt.InlineData(values=bands))
        .mark_rect(color="#000000", opacity=0.12)
        .encode(
            x="from:Q",
            x2="to:Q",
            tooltip=[
                alt.Tooltip("engine:N", title="outage"),
                alt.Tooltip("from:Q", title=f"from ({bands[0]['unit']})", format=",.4~g"),
            ],
        )
    )
    above = chart.copy()
    above.title = alt.Undefined
    return alt.LayerChart(layer=[above, behind], title=f"{chart.title} (grey: an engine is down)")
