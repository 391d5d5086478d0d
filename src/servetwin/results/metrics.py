"""The figures of `summary.json`, computed from the request table."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from servetwin.results import gaps
from servetwin.results.attribution import attribution
from servetwin.results.classes import by_priority
from servetwin.results.describing import PERCENTILES, Stats, describe
from servetwin.results.groups import by_group
from servetwin.results.latencies import chunks, latencies_ps
from servetwin.results.slo import Slo, count_met
from servetwin.types import RequestTable, RunResult, Status, TokenGaps
from servetwin.units import NOT_YET, PS_PER_MS, PS_PER_S

__all__ = ["NO_ERROR_BARS", "NO_FOOTPRINT", "PERCENTILES", "compute", "describe", "makespan_ps"]

FAILURES = (Status.TIMEOUT, Status.ERROR, Status.CANCELLED)

NO_FOOTPRINT = dict.fromkeys(("energy", "carbon_g", "cost"))
NO_ERROR_BARS = dict.fromkeys(("intervals", "verdict"))


def compute(run: RunResult, slo: Slo | None = None) -> dict[str, Any]:
    """Return the `metrics` object of `summary.json`; what cannot be known is None.

    Latencies are those of completed requests. Besides the result, memory for one float64
    a request is needed.
    """
    table = run.requests
    buffer = np.empty(len(table))

    def stats(name: str, unit: int) -> Stats:
        return describe(latencies_ps(table, name, buffer), unit)

    counts, prefix_hit_rate = _totals(table)
    seconds = makespan_ps(table) / PS_PER_S
    met = None if slo is None else count_met(table, slo)
    metrics = {
        "ttft_ms": stats("ttft", PS_PER_MS),
        "tpot_ms": stats("tpot", PS_PER_MS),
        "itl_ms": _describe_gaps(run.token_gaps),
        "queue_ms": stats("queue", PS_PER_MS),
        "e2e_latency_s": stats("e2e", PS_PER_S),
        "scheduler_overhead_ms": None,
        "throughput_token_s": _rate(counts["output_tokens"], seconds),
        "request_throughput_req_s": _rate(counts["completed"], seconds),
        "goodput_req_s": None if met is None else _rate(met["all"], seconds),
        "slo": None if slo is None or met is None else _attainment(slo, met, len(table)),
        "makespan_s": seconds if seconds > 0 else None,
        **counts,
        "kv_cache": {
            "capacity_blocks": run.kv_capacity_blocks or None,
            "peak_blocks": run.kv_peak_blocks if run.kv_capacity_blocks else None,
            "prefix_hit_rate": prefix_hit_rate,
            "tiers": run.kv_tiers,
            "decode": run.kv_decode,
        },
        "groups": by_group(table, run.groups),
        "pipeline": run.pipeline,
        "decode_pipeline": run.decode_pipeline,
        "failures": run.failures,
        "priorities": by_priority(table),
        **(run.footprint or NO_FOOTPRINT),
    }
    found = attribution(table, metrics)
    return {**metrics, "attribution": found, **(run.error_bars or NO_ERROR_BARS)}


def makespan_ps(table: RequestTable) -> int:
    """Picoseconds from the first arrival to the last token; 0 where nothing completed."""
    first: int | None = None
    last = NOT_YET
    for rows in chunks(len(table)):
        arrivals = table.arrival[rows]
        arrivals = arrivals[arrivals != NOT_YET]
        if arrivals.size:
            first = int(arrivals.min()) if first is None else min(first, int(arrivals.min()))
        finished = table.finish[rows][table.status[rows] == Status.OK]
        last = max(last, int(finished.max(initial=NOT_YET)))
    return 0 if first is None or last == NOT_YET else max(last - first, 0)


def _rate(count: int, seconds: float) -> float | None:
    return count / seconds if seconds > 0 else None


def _totals(table: RequestTable) -> tuple[dict[str, int], float | None]:
    """Count requests by how they ended, tokens and preemptions; and the prefix hit rate."""
    by_status = np.zeros(len(Status), dtype=np.int64)
    input_tokens = output_tokens = cached_tokens = 0
    for rows in chunks(len(table)):
        by_status += np.bincount(table.status[rows], minlength=len(Status))
        done = table.status[rows] == Status.OK
        input_tokens += _sum(table.input_tokens[rows][done])
        output_tokens += _sum(table.output_tokens[rows][done])
        if table.cached_tokens is not None:
            cached_tokens += _sum(table.cached_tokens[rows][done])
    counts = {
        "requests": len(table),
        "completed": int(by_status[Status.OK]),
        "failed": int(sum(by_status[status] for status in FAILURES)),
        "rejected": int(by_status[Status.REJECTED]),
        "unfinished": int(by_status[Status.UNFINISHED]),
        "output_tokens": output_tokens,
        "preemptions": _sum(table.preemptions),
    }
    known = table.cached_tokens is not None and input_tokens > 0
    return counts, cached_tokens / input_tokens if known else None


def _sum(column: NDArray[np.int32]) -> int:
    return int(column.sum(dtype=np.int64))


def _describe_gaps(token_gaps: TokenGaps | None) -> Stats:
    names = ("mean", *PERCENTILES, "max")
    if token_gaps is None or not token_gaps.counts.any():
        return dict.fromkeys(names)
    counts = token_gaps.counts
    values = [gaps.mean_from_counts(counts)]
    values += [gaps.percentile_from_counts(counts, p) for p in (*PERCENTILES.values(), 100)]
    return {name: value / PS_PER_MS for name, value in zip(names, values, strict=True)}


def _attainment(slo: Slo, met: dict[str, int], requests: int) -> dict[str, Any]:
    attained = {name: count / requests if requests else 0.0 for name, count in met.items()}
    targets = {f"{name}_ms": limit / PS_PER_MS for name, limit in slo.limits.items()}
    return {
        "targets": targets,
        "share": slo.share,
        "attained": attained,
        "met": bool(requests) and attained["all"] >= slo.share,
    }
