"""Intervals, verdict and evidence in words, for terminal and HTML reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from servetwin.errors import counted
from servetwin.report.wording import number, printable

__all__ = ["evidence_lines", "interval_cell", "interval_lines"]

NAMES = {"ttft_ms": ("TTFT", 1e-3), "tpot_ms": ("TPOT", 1e-3), "e2e_latency_s": ("E2E", 1.0)}
"""Latencies of `metrics.intervals`, with the seconds in their units."""
METRICS = {"ttft": "TTFT", "tpot": "TPOT", "e2e": "E2E", "throughput": "tokens/s"}
UNCOMPARED = "tp, lengths and load not compared"
UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))


def interval_lines(metrics: Mapping[str, Any]) -> dict[str, str]:
    """Say how close to the limit the run is, and the intervals of its means."""
    lines = {}
    if verdict := metrics.get("verdict"):
        lines["Load"] = f"{verdict['load']}: {verdict['because']}"
    if intervals := metrics.get("intervals"):
        parts = [
            f"{name} {_spread(intervals[key]['mean'], unit)}"
            for key, (name, unit) in NAMES.items()
            if intervals[key]["mean"]
        ]
        if found := intervals["throughput_token_s"]:
            parts.append(f"{_joined(found, 1.0)} tokens/s")
        lines[f"{100 * intervals['nominal']:.0f} % range"] = (
            f"of means: {'; '.join(parts)}" if parts else ""
        )
    return {label: line for label, line in lines.items() if line}


def interval_cell(metrics: Mapping[str, Any], key: str, unit: str) -> str:
    """The interval of a latency's mean in `unit`, as a cell; empty where there is none."""
    found = (metrics.get("intervals") or {}).get(key)
    if not found or not found["mean"]:
        return ""
    length = next(seconds for seconds, name in UNITS if name == unit)
    return _joined(found["mean"], NAMES[key][1] / length)


def evidence_lines(provenance: Mapping[str, Any]) -> dict[str, str]:
    """Say which measurement is nearest, how it differs, and how far off it was predicted."""
    evidence = provenance.get("evidence")
    found = evidence.get("nearest") if isinstance(evidence, dict) else None
    if not found:
        return {}
    differs = "; ".join(found["differs"]) or "same model, weights, GPU and engine"
    errors = [
        f"{METRICS[name]} {100 * value:.0f} %" for name, value in found["median_error"].items()
    ]
    off = f"{counted(found['points'], 'point')}, off by {', '.join(errors)} (medians)"
    text = f"nearest: {found['what']}, {found['source']}; {differs} ({UNCOMPARED}); {off}"
    return {"Measured": printable(text)}


def _spread(ends: list[float], unit: float) -> str:
    """Both ends in the unit that suits the upper one."""
    length, name = next((u for u in UNITS if ends[1] * unit >= u[0]), UNITS[-1])
    return f"{_joined(ends, unit / length)} {name}"


def _joined(ends: list[float], factor: float) -> str:
    return " to ".join(number(end * factor) for end in ends)
