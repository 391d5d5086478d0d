"""Charts of prefix caches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import altair as alt

from servetwin.report.figures import BLUE, GREEN, PURPLE, VERMILLION

if TYPE_CHECKING:
    from servetwin.cache import CacheReplay

__all__ = ["hit_rate_by_capacity"]

COLOURS = [BLUE, VERMILLION, GREEN, PURPLE, "#E69F00", "#56B4E9", "#000000"]
DASHES = [[1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [4, 1], [1, 3], [10, 4]]


def hit_rate_by_capacity(replays: Sequence[CacheReplay], trace: str) -> alt.Chart:
    """Share of block references that hit, over the capacity; a line for each policy.

    `trace` says which requests were replayed.

    An unbounded cache stands at the number of different blocks, from which on more makes no
    difference.
    """
    rows = [
        {
            "policy": replay.policy,
            "blocks": max(replay.capacity_blocks or replay.distinct, 1),
            "capacity": capacity_text(replay.capacity_blocks),
            "rate": replay.hit_rate,
        }
        for replay in replays
    ]
    policies = list(dict.fromkeys(replay.policy for replay in replays))
    blocks = sorted({replay.capacity_blocks or replay.distinct for replay in replays})
    legend = alt.Legend(title=None, orient="right", symbolType="stroke", symbolSize=250)
    colour = alt.Scale(domain=policies, range=COLOURS[: len(policies)])
    dash = alt.Scale(domain=policies, range=DASHES[: len(policies)])
    chart: alt.Chart = (
        alt.Chart(alt.InlineData(values=rows), title=_title(replays, trace), width=480, height=280)
        .mark_line(point=alt.OverlayMarkDef(size=40))
        .encode(
            x=alt.X(
                "blocks:Q",
                title=f"capacity (blocks of {replays[0].block_tokens} tokens, log)",
                scale=alt.Scale(type="log", nice=False),
                axis=alt.Axis(values=blocks, format=",") if len(blocks) <= 12 else alt.Axis(),
            ),
            y=alt.Y(
                "rate:Q",
                title="block references that hit",
                axis=alt.Axis(format="%"),
                scale=alt.Scale(zero=True, nice=True),
            ),
            color=alt.Color("policy:N", scale=colour, legend=legend),
            strokeDash=alt.StrokeDash("policy:N", scale=dash, legend=legend),
            tooltip=["policy:N", "capacity:N", alt.Tooltip("rate:Q", format=".3%")],
        )
    )
    return chart


def _title(replays: Sequence[CacheReplay], trace: str) -> alt.TitleParams:
    lines = [trace]
    if any(replay.capacity_blocks is None for replay in replays):
        lines.append(f"unbounded stands at {replays[0].distinct:,}, all different blocks")
    return alt.TitleParams("Prefix cache hits", subtitle=lines)


def capacity_text(blocks: int | None) -> str:
    """Return "10,000", or "unbounded"."""
    return "unbounded" if blocks is None else f"{blocks:,}"
