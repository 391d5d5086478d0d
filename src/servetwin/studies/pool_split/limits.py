"""Which objective gives way first, and what the time of the requests that miss it went into."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from servetwin.results import Slo
from servetwin.results.slo import count_met
from servetwin.types import RequestTable, Status

__all__ = ["PARTS", "REJECTED", "Limit", "limit_of"]

Ints = NDArray[np.int64]

REJECTED = "rejected"
HALF = 0.5

PARTS = {
    "frontend": "front end",
    "queue": "queueing",
    "own_prefill": "own prompt",
    "others_prefill": "prompts of others",
    "decode": "decoding",
    "decode_queue": "waiting to decode",
    "transfer": "KV transfer",
    "preemption": "preemption",
    REJECTED: "rejected",
}
"""What time goes into, or why there is none, in words."""


@dataclass(frozen=True)
class Limit:
    """The objective that fewest requests meet."""

    name: str
    """ttft, tpot or e2e."""
    parts: dict[str, float]
    """By PARTS: of the time that the metric counts, the share of each, over the completed
    requests that miss it."""
    rejected: float = 0.0
    """Of all requests that miss it, the share that did not complete and has no such time."""

    @property
    def cause(self) -> str:
        """`rejected` or the largest part, as most that miss it are; empty where none does."""
        if self.rejected > HALF or (self.rejected and not self.parts):
            return REJECTED
        return max(self.parts, key=lambda name: self.parts[name], default="")

    @property
    def share(self) -> float:
        """Of the cause: among the requests where they are rejected, else in their time."""
        return self.rejected if self.cause == REJECTED else self.parts.get(self.cause, 0.0)


def limit_of(table: RequestTable, slo: Slo) -> Limit:
    """Find the objective that fewest requests meet, and where those that miss it spend time."""
    met = count_met(table, slo)
    name = min(slo.limits, key=lambda limit: met[limit])
    late = _missed(table, name, slo.limits[name])
    misses = len(table) - met[name]
    rejected = 1 - np.count_nonzero(late) / misses if misses else 0.0
    parts = _parts(table, name, late) if late.any() else {}
    total = sum(parts.values()) or 1.0
    shares = {part: value / total for part, value in parts.items() if value > 0}
    return Limit(name, shares, rejected)


def _missed(table: RequestTable, name: str, limit: int) -> NDArray[np.bool_]:
    """Completed requests beyond the limit; TPOT as `count_met` rounds it."""
    done = np.asarray(table.status == Status.OK)
    if name == "ttft":
        return np.asarray(done & (table.first_token - table.arrival > limit))
    if name == "e2e":
        return np.asarray(done & (table.finish - table.arrival > limit))
    gaps = table.output_tokens.astype(np.int64) - 1
    elapsed = table.finish - table.first_token
    return np.asarray(done & (gaps > 0) & (-(-elapsed // np.maximum(gaps, 1)) > limit))


def _parts(table: RequestTable, name: str, rows: NDArray[np.bool_]) -> dict[str, float]:
    before, after = _before_first_token(table, rows), _after_first_token(table, rows)
    chosen = {"ttft": (before,), "tpot": (after,), "e2e": (before, after)}[name]
    sums = dict.fromkeys(PARTS, 0.0)
    for parts in chosen:
        for part, values in parts.items():
            sums[part] += float(values.mean())
    return sums


def _column(table: RequestTable, name: str, rows: NDArray[np.bool_]) -> Ints:
    values = getattr(table, name)
    if values is None:
        return np.zeros(int(rows.sum()), np.int64)
    return np.asarray(values[rows])


def _before_first_token(table: RequestTable, rows: NDArray[np.bool_]) -> dict[str, Ints]:
    """Parts of the TTFT of each of `rows`, picoseconds; they add up to it."""
    arrival, scheduled, first = (
        _column(table, name, rows) for name in ("arrival", "first_scheduled", "first_token")
    )
    own = _column(table, "prefill_time", rows) + _column(table, "prefill_stage_wait", rows)
    loads = _column(table, "kv_transfer", rows) - _column(table, "handover_transfer", rows)
    frontend = _column(table, "frontend_time", rows)
    wait = scheduled - arrival - frontend
    loads = np.minimum(loads, wait)
    preempted = _column(table, "preempted_time", rows) - _preempted_later(table, rows)
    return {
        "frontend": frontend,
        "queue": wait - loads,
        "transfer": loads,
        "own_prefill": own,
        "others_prefill": first - scheduled - own - preempted,
        "preemption": preempted,
    }


def _after_first_token(table: RequestTable, rows: NDArray[np.bool_]) -> dict[str, Ints]:
    """Parts of the time from first to last token of each of `rows`, picoseconds."""
    handover, moving = (_column(table, name, rows) for name in ("handover", "handover_transfer"))
    moving = np.minimum(moving, handover)
    preempted = _preempted_later(table, rows)
    return {
        "decode": _decode_time(table, rows),
        "others_prefill": _not_decoding(table, rows) - preempted,
        "decode_queue": handover - moving,
        "transfer": moving,
        "preemption": preempted,
    }


def _preempted_later(table: RequestTable, rows: NDArray[np.bool_]) -> Ints:
    """What preemption took after the first token: at most what neither decoding nor handover did.

    A run states one sum for before and after. What does not fit here was before, which is rare.
    """
    whole = _column(table, "preempted_time", rows)
    return np.minimum(whole, np.maximum(_not_decoding(table, rows), 0))


def _not_decoding(table: RequestTable, rows: NDArray[np.bool_]) -> Ints:
    """From first to last token, what prompts of others and preemption took."""
    names = ("finish", "first_token", "handover")
    finish, first, handover = (_column(table, name, rows) for name in names)
    return finish - first - handover - _decode_time(table, rows)


def _decode_time(table: RequestTable, rows: NDArray[np.bool_]) -> Ints:
    """Waiting for pipeline stages included: it is what decoding takes on such an engine."""
    return _column(table, "decode_time", rows) + _column(table, "decode_stage_wait", rows)
