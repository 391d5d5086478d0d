"""The load curve: how latency and throughput answer to the offered request rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["LoadPoint", "knee", "load_point"]


@dataclass(frozen=True)
class LoadPoint:
    """One run of a sweep. Latencies in the units of `summary.json`; None where undefined."""

    offered_rps: float
    ttft_p50_ms: float | None
    ttft_p99_ms: float | None
    tpot_p50_ms: float | None
    tpot_p99_ms: float | None
    e2e_mean_s: float | None
    e2e_p50_s: float | None
    e2e_p99_s: float | None
    completed_rps: float | None
    throughput_token_s: float | None
    goodput_rps: float | None = None
    meets_slo: bool | None = None


def load_point(offered_rps: float, summary: dict[str, Any]) -> LoadPoint:
    """Take from the summary of one run what a load curve shows of it."""
    metrics = summary["metrics"]
    latencies = {"ttft": "ttft_ms", "tpot": "tpot_ms", "e2e": "e2e_latency_s"}
    values = {
        f"{name}_{percentile}_{source.rpartition('_')[2]}": metrics[source][percentile]
        for name, source in latencies.items()
        for percentile in ("p50", "p99")
    }
    slo = metrics["slo"]
    return LoadPoint(
        offered_rps=offered_rps,
        e2e_mean_s=metrics["e2e_latency_s"]["mean"],
        completed_rps=metrics["request_throughput_req_s"],
        throughput_token_s=metrics["throughput_token_s"],
        goodput_rps=metrics["goodput_req_s"],
        meets_slo=None if slo is None else slo["met"],
        **values,
    )


def knee(points: Sequence[LoadPoint]) -> LoadPoint | None:
    """Return the point of greatest power, completed requests/s over mean E2E latency.

    This is Kleinrock's operating point: below it more load costs little latency, above it
    latency grows faster than throughput. Of equals, the least loaded. None where fewer than
    three points completed requests, since two points have no bend.
    """
    powers = [
        (point.completed_rps / point.e2e_mean_s, point)
        for point in sorted(points, key=lambda point: point.offered_rps)
        if point.completed_rps and point.e2e_mean_s
    ]
    if len(powers) < 3:
        return None
    return max(powers, key=lambda pair: pair[0])[1]
