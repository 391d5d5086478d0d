"""The words and numbers that terminal and HTML page of a load curve share.

`content` is what `load_curve.json` holds.
"""

from __future__ import annotations

from typing import Any

from servetwin.report.facts import facts
from servetwin.report.numbers import ABSENT
from servetwin.report.wording import heading

__all__ = ["about", "figure", "load_cells", "load_heads", "title", "verdict"]

COLUMNS = {
    "offered_rps": ("offered", "req/s"),
    "completed_rps": ("done", "req/s"),
    "throughput_token_s": ("output", "token/s"),
    "ttft_p50_ms": ("TTFT", "p50 ms"),
    "ttft_p99_ms": ("TTFT", "p99 ms"),
    "tpot_p50_ms": ("TPOT", "p50 ms"),
    "tpot_p99_ms": ("TPOT", "p99 ms"),
    "e2e_p99_s": ("E2E", "p99 s"),
    "goodput_rps": ("in SLO", "req/s"),
}
"""Figures of a point, and the two lines of their heads."""


def title(content: dict[str, Any]) -> str:
    """Say in one line whose load curve this is."""
    return f"Load curve: {heading(content)}"


def about(content: dict[str, Any]) -> dict[str, str]:
    """Say what was swept; the rates are those of the curve, not of the workload."""
    workload = {**content["workload"], "rps": None, "span_s": None}
    return facts({**content, "workload": workload})


def load_heads(content: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the heads of the table, each in two parts."""
    return [COLUMNS[name] for name in _columns(content)]


def load_cells(content: dict[str, Any]) -> list[list[str]]:
    """Return a row for each rate, the rate first."""
    names = _columns(content)
    return [[_cell(name, point[name]) for name in names] for point in content["points"]]


def _cell(name: str, value: float | None) -> str:
    return f"{value:g}" if name == "offered_rps" else figure(value)


def figure(value: float | None) -> str:
    """Format with three significant digits, or as a whole number from 1,000 on."""
    if value is None:
        return ABSENT
    return f"{value:,.0f}" if value >= 1000 else f"{value:#.3g}".rstrip(".")


def verdict(content: dict[str, Any]) -> dict[str, str]:
    """Say what the curve shows: its knee, its limit, and up to where it meets the SLO."""
    lines = {"Knee": _knee(content), "Limit": _limit(content), "SLO": _slo(content["points"])}
    return {label: line for label, line in lines.items() if line}


def _columns(content: dict[str, Any]) -> list[str]:
    with_slo = any(point["goodput_rps"] is not None for point in content["points"])
    return [name for name in COLUMNS if with_slo or name != "goodput_rps"]


def _knee(content: dict[str, Any]) -> str:
    knee = content["knee_rps"]
    if knee is None:
        return "unknown; it takes three rates at which requests complete"
    highest = knee == content["points"][-1]["offered_rps"]
    where = "; the highest rate tried, try higher ones" if highest else ""
    return f"{knee:g} requests/s, the most throughput per latency{where}"


def _limit(content: dict[str, Any]) -> str:
    base, limit = content["base_rps"], content["limit_rps"]
    percent = f"{(content['limit_over_base'] - 1) * 100:.0f} %"
    if base is None:
        return "unknown; no rate completed 100 requests (--requests gives more)"
    if limit is None:
        return f"not reached; P99 TTFT and E2E stay within {percent} of those at {base:g}/s"
    where = f"where P99 TTFT or E2E is more than {percent} above that at {base:g}/s"
    return f"{limit:g} requests/s, {where}"


def _slo(points: list[dict[str, Any]]) -> str:
    judged = [point for point in points if point["meets_slo"] is not None]
    if not judged:
        return ""
    met = [point["offered_rps"] for point in judged if point["meets_slo"]]
    if not met:
        return "met at none of these rates"
    first_missed = min(
        (point["offered_rps"] for point in judged if not point["meets_slo"]), default=None
    )
    if first_missed is None:
        return "met at all of these rates"
    if first_missed < max(met):
        rates = ", ".join(f"{rate:g}" for rate in met)
        return f"met at {rates} requests/s alone"
    return f"met up to {max(met):g} requests/s"
