"""Workload -> the `workload` entry of summary.json."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from servetwin.types import Workload
from servetwin.units import NOT_YET, PS_PER_S

__all__ = ["summarize"]

MOST_CLASSES = 16


def summarize(workload: Workload) -> dict[str, Any]:
    """Describe a workload in values that JSON can hold.

    `rps` is (arrivals - 1) / span over the arrivals known beforehand, null where they do not
    spread over time. In a closed loop these are the requests that follow no answer; the others
    are its `follow_ups`. Percentiles are linear-interpolated. `type` is `generated` or `trace`;
    `sha256` are the first 16 digits of that of the trace as it lies on disk. `priorities`, where
    there are any, counts the requests of each; null where there are more than 16 different ones.
    """
    known = int(np.count_nonzero(workload.arrival != NOT_YET))
    span = workload.span_ps
    summary: dict[str, Any] = {
        "type": "generated" if workload.source == "generated" else "trace",
        "dataset": workload.name,
        "source": workload.source,
        "sha256": workload.digest or None,
        "requests": len(workload),
        "rps": (known - 1) * PS_PER_S / span if span else None,
        "span_s": span / PS_PER_S,
        "input_tokens": _lengths(workload.input_tokens),
        "output_tokens": _lengths(workload.output_tokens),
        "closed_loop": workload.closed_loop,
        "follow_ups": len(workload) - known,
        "sessions": None,
        "block_hashes": None,
    }
    if workload.priority is not None:
        summary["priorities"] = _classes(workload.priority)
    if workload.session_id is not None:
        summary["sessions"] = int(np.unique(workload.session_id).size)
    if (hashes := workload.block_hashes) is not None:
        summary["block_hashes"] = {
            "block_tokens": hashes.block_tokens,
            "scope": hashes.scope,
            "references": int(hashes.ids.size),
            "distinct": _distinct(workload),
        }
    return summary


def _classes(priority: NDArray[np.int32]) -> dict[str, int] | None:
    found, counts = np.unique(priority, return_counts=True)
    if found.size > MOST_CLASSES:
        return None
    return dict(zip(map(str, found.tolist()), counts.tolist(), strict=True))


def _lengths(tokens: NDArray[np.int32]) -> dict[str, float | int]:
    p50, p90, p99 = np.percentile(tokens, (50, 90, 99)).tolist()
    return {
        "mean": float(tokens.mean()),
        "p50": p50,
        "p90": p90,
        "p99": p99,
        "max": int(tokens.max()),
        "total": int(tokens.sum(dtype=np.int64)),
    }


def _distinct(workload: Workload) -> int:
    """Count different blocks; ids of different sessions differ where the scope is a session."""
    hashes = workload.block_hashes
    assert hashes is not None
    if hashes.scope == "global" or workload.session_id is None:
        return int(np.unique(hashes.ids).size)
    owner = np.repeat(workload.session_id, np.diff(hashes.offsets))
    order = np.lexsort((hashes.ids, owner))
    ids, owner = hashes.ids[order], owner[order]
    changes = (ids[1:] != ids[:-1]) | (owner[1:] != owner[:-1])
    return int(np.count_nonzero(changes)) + int(ids.size > 0)
