"""Measured and simulated series over time, side by side for each device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from servetwin.report.figures import colour_of, dashes_of

__all__ = ["measured_and_simulated", "panels"]

WIDTH, HEIGHT = 420, 130
KINDS = {"measured": None, "simulated": None}


def measured_and_simulated(rows: Sequence[Mapping[str, Any]]) -> Any:
    """A row of panels for each quantity, a column for each device.

    `rows` have `gpu`, `quantity`, `kind` (measured or simulated), `t` in seconds and `value`.
    """
    quantities = list(dict.fromkeys(row["quantity"] for row in rows))
    devices = list(dict.fromkeys(row["gpu"] for row in rows))
    columns = []
    for device in devices:
        panels = [_panel(rows, device, quantity) for quantity in quantities]
        columns.append(alt.vconcat(*panels).resolve_scale(x="shared"))
    return alt.hconcat(*columns).properties(title="Measured and simulated, second by second")


def panels(rows: Sequence[Mapping[str, Any]]) -> list[alt.Chart]:
    """The same panels one by one: all quantities of the first device, then of the next."""
    keys = dict.fromkeys((row["gpu"], row["quantity"]) for row in rows)
    return [_panel(rows, *key) for key in keys]


def _panel(rows: Sequence[Mapping[str, Any]], device: str, quantity: str) -> alt.Chart:
    chosen = [
        {name: row[name] for name in ("t", "value")} | {"series": row["kind"]}
        for row in rows
        if row["gpu"] == device and row["quantity"] == quantity
    ]
    title = f"{device}: {quantity}"
    chart: alt.Chart = (
        alt.Chart(alt.InlineData(values=chosen), title=title, width=WIDTH, height=HEIGHT)
        .mark_line(strokeWidth=1.6)
        .encode(
            x=alt.X("t:Q", title="time (s)", scale=alt.Scale(nice=False)),
            y=alt.Y("value:Q", title=None),
            color=colour_of(KINDS),
            strokeDash=dashes_of(KINDS),
            tooltip=["series:N", alt.Tooltip("t:Q"), alt.Tooltip("value:Q", format=",.4~g")],
        )
    )
    return chart
