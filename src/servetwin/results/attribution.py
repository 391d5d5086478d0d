"""Why a percentile is high: where the time of requests goes, on average and at the slow end."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from servetwin.results.latencies import chunks, completed
from servetwin.types import RequestTable
from servetwin.units import PS_PER_S

__all__ = ["PARTS", "attribution"]

PARTS = (
    *(
        "frontend",
        "queue",
        "transfer",
        "own_prefill",
        "others_prefill",
        "decode",
        "stage_wait",
        "preemption",
    ),
    "outage",
)
"""What an E2E latency consists of; `RequestTable` defines them."""

TTFT_PARTS = ("frontend", "queue", "transfer", "own_prefill", "stage_wait", "outage", "rest")
"""What a TTFT consists of; `rest` is the prefill of others and preemption."""

Ints = NDArray[np.int64]


def attribution(table: RequestTable, metrics: dict[str, Any]) -> dict[str, Any] | None:
    """Mean seconds of each part, over all completed requests and those at or above P99.

    `{"e2e": {"all": {part: s}, "p99": {part: s}}, "ttft": …}`; the parts add up to the mean
    latency of their group. None where the run does not know them, or nothing completed.
    `metrics` holds the percentiles of both latencies.
    """
    if table.prefill_time is None or not metrics["completed"]:
        return None
    limits = {
        "e2e": metrics["e2e_latency_s"]["p99"] * PS_PER_S,
        "ttft": metrics["ttft_ms"]["p99"] * PS_PER_S / 1e3,
    }
    names = {"e2e": PARTS, "ttft": TTFT_PARTS}
    sums = {name: {"all": np.zeros(len(p)), "p99": np.zeros(len(p))} for name, p in names.items()}
    counts = {name: {"all": 0, "p99": 0} for name in names}
    for rows in chunks(len(table)):
        for name, parts in _split(table, rows).items():
            # A rounding of the percentile must not leave out the request that it is.
            slow = parts.sum(axis=0) >= limits[name] * (1 - 1e-12)
            for group, members in (("all", np.ones_like(slow)), ("p99", slow)):
                sums[name][group] += parts[:, members].sum(axis=1, dtype=np.float64)
                counts[name][group] += int(members.sum())
    return {
        name: {
            group: dict(
                zip(names[name], (total / counts[name][group] / PS_PER_S).tolist(), strict=True)
            )
            for group, total in groups.items()
            if counts[name][group]
        }
        for name, groups in sums.items()
    }


def _split(table: RequestTable, rows: slice) -> dict[str, Ints]:
    """Parts of the completed requests in `rows`, picoseconds; (parts, requests)."""
    keep = completed(table, "e2e", rows)

    def column(name: str) -> Ints:
        values = getattr(table, name)
        if values is None:
            return np.zeros(int(keep.sum()), np.int64)
        return np.asarray(values[rows][keep])

    arrival, transfer, prefill = column("arrival"), column("kv_transfer"), column("prefill_time")
    first = column("first_token") - arrival
    total = column("finish") - arrival
    frontend = column("frontend_time")
    wait = column("first_scheduled") - arrival - frontend
    # What came from tiers after a preemption is part of that.
    transfer = np.minimum(transfer - column("handover_transfer"), wait)
    queue = wait - transfer
    later = column("handover")
    decode, preempted = column("decode_time"), column("preempted_time")
    prompt = column("prefill_stage_wait")
    waited = prompt + column("decode_stage_wait")
    down = column("prefill_outage")
    lost = down + column("decode_outage")
    before = frontend + queue + transfer
    others = total - before - later - prefill - decode - waited - preempted - lost
    rest = first - before - prefill - prompt - down
    return {
        "e2e": np.stack(
            [frontend, queue, transfer + later, prefill, others, decode, waited, preempted, lost]
        ),
        "ttft": np.stack([frontend, queue, transfer, prefill, prompt, down, rest]),
    }
