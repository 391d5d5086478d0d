"""Which objective gives way first, and what the time of the requests that miss it went into."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from servetwin.results import Slo
from servetwin.results.slo import count_met
from servetwin.types import RequestTable, Status

__all__ = ["PARTS", "Limit", "limit_of"]

Ints = NDArray[np.int64]

PARTS = {
    "queue": "queueing",
    "own_prefill": "own prompt",
    "others_prefill": "prompts of others",
    "decode": "decoding",
    "decode_queue": "waiting to decode",
    "transfer": "KV transfer",
    "preemption": "preemption",
    "rejected": "rejected",
}
"""What time goes into, in words."""


@dataclass(frozen=True)
class Limit:
    """The objective that fewest requests meet."""

    name: str
    """ttft, tpot or e2e."""
    parts: dict[str, float]
    """By PARTS, the share of the time that the metric counts, over requests that miss it."""

    @property
    def cause(self) -> str:
        """The largest part; empty where no request misses."""
        return max(self.parts, key=lambda name: self.parts[name], default="")


def limit_of(table: RequestTable, slo: Slo) -> Limit:
    """Find the objective that fewest requests meet, and where those that miss it spend time."""
    met = count_met(table, slo)
    name = min(slo.limits, key=lambda limit: met[limit])
    missed = _missed(table, name, slo.limits[name])
    if not missed.any():
        refused = np.count_nonzero(table.status == Status.REJECTED)
        return Limit(name, {"rejected": 1.0} if refused else {})
    parts = _parts(table, name, missed)
    total = sum(parts.values()) or 1.0
    return Limit(name, {part: value / total for part, value in parts.items() if value > 0})


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
    if name == "ttft":
        return before
    if name == "tpot":
        return after
    return {part: before.get(part, 0.0) + after.get(part, 0.0) for part in (*before, *after)}


def _column(table: RequestTable, name: str, rows: NDArray[np.bool_]) -> Ints:
    values = getattr(table, name)
    if values is None:
        return np.zeros(int(rows.sum()), np.int64)
    return np.asarray(values[rows])


def _before_first_token(table: RequestTable, rows: NDArray[np.bool_]) -> dict[str, float]:
    arrival, scheduled, first = (
        _column(table, name, rows) for name in ("arrival", "first_scheduled", "first_token")
    )
    own = _column(table, "prefill_time", rows)
    loads = _column(table, "kv_transfer", rows) - _column(table, "handover_transfer", rows)
    wait = scheduled - arrival
    loads = np.minimum(loads, wait)
    return _means(
        queue=wait - loads,
        transfer=loads,
        own_prefill=own,
        others_prefill=first - scheduled - own,
    )


def _after_first_token(table: RequestTable, rows: NDArray[np.bool_]) -> dict[str, float]:
    """Preemption before the first token, which is rare, counts here too."""
    first, finish = (_column(table, name, rows) for name in ("first_token", "finish"))
    handover, moving = (_column(table, name, rows) for name in ("handover", "handover_transfer"))
    decode, preempted = (_column(table, name, rows) for name in ("decode_time", "preempted_time"))
    moving = np.minimum(moving, handover)
    others = np.maximum(finish - first - handover - decode - preempted, 0)
    return _means(
        decode=decode,
        others_prefill=others,
        decode_queue=handover - moving,
        transfer=moving,
        preemption=preempted,
    )


def _means(**columns: Ints) -> dict[str, float]:
    return {name: float(values.mean()) for name, values in columns.items()}
