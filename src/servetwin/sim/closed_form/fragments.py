"""Requests cut into fragments of equal duration, as OpenDC replays them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from servetwin.errors import InputError
from servetwin.sim.closed_form.model import ClosedForm, Requests
from servetwin.units import PS_PER_MS

__all__ = ["MILLE", "FragmentBatch", "FragmentPlan", "plan_fragments"]

Ints = NDArray[np.int64]

MILLE = 1000
"""Utilisation is counted in thousandths, so that it has few values."""

MOST_FRAGMENTS = 20_000_000_000
MOST_SECONDS = 86_400.0
REQUESTS_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class FragmentBatch:
    """Consecutive fragments. The arrays are overwritten by the next batch."""

    task: NDArray[np.int32]
    """Number of the request."""
    duration_ms: Ints
    usage: NDArray[np.uint16]
    """GPU utilisation at the start of the fragment, thousandths."""
    kv: NDArray[np.uint16] | None = None
    """KV cache at the start of the fragment, thousandths of the GPU's memory (at most 65,535)."""

    def __len__(self) -> int:
        return int(self.task.size)


@dataclass(frozen=True)
class FragmentPlan:
    """How each request will be cut. A request lasts at least 1 ms, OpenDC's unit."""

    model: ClosedForm
    requests: Requests
    kv_cache: bool
    step_ms: int
    duration_ms: Ints
    """Of each request, rounded to whole milliseconds."""
    counts: Ints
    """`max(1, floor(duration / export_rate))`; the last fragment takes the rest."""

    @property
    def total(self) -> int:
        """Fragments of all requests."""
        return int(self.counts.sum())

    def batches(self, rows: int, *, kv: bool = False) -> Iterator[FragmentBatch]:
        """Yield all fragments in order, `rows` at a time; `kv` asks for the KV cache too."""
        from servetwin.sim.closed_form.kernels import fill_cache, fill_fragments

        task, duration = np.empty(rows, np.int32), np.empty(rows, np.int64)
        usage, cache = np.empty(rows, np.uint16), np.empty(rows if kv else 0, np.uint16)
        out = task, duration, usage
        size = self._cache_mille()
        row = 0
        for at in range(0, self.counts.size, REQUESTS_AT_ONCE):
            some = slice(at, at + REQUESTS_AT_ONCE)
            bounds, levels = self._pieces(some)
            held = self._token_pieces(some)
            totals, counts = self.duration_ms[some], self.counts[some]
            request = done = 0
            while request < counts.size:
                start = (row, request, done)
                row, request, done = fill_fragments(
                    start, at, self.step_ms, totals, counts, bounds, levels, out
                )
                if kv:
                    fill_cache(start, row, counts, *held, size, cache)
                if row == rows:
                    yield FragmentBatch(*out, cache if kv else None)
                    row = 0
        if row:
            part = cache[:row] if kv else None
            yield FragmentBatch(task[:row], duration[:row], usage[:row], part)

    def _token_pieces(self, some: slice) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
        """Ends of prefill and decode in fragments, and the cached tokens at both."""
        requests = self.requests.part(some)
        step = self.step_ms * PS_PER_MS
        given = requests.input_tokens.astype(np.float64)
        whole = requests.prefill + requests.decode
        return (requests.prefill / step, whole / step), (given, given + requests.output_tokens)

    def _cache_mille(self) -> tuple[float, float, float, float]:
        """CacheSize in thousandths of the device's memory."""
        size, mille = self.model.cache, MILLE / self.model.device.memory
        if not self.kv_cache:
            return 0.0, 0.0, 0.0, 0.0
        return (
            size.token * mille,
            size.near_token * mille,
            float(size.window),
            size.sequence * mille,
        )

    def _pieces(self, some: slice) -> tuple[tuple[Ints, Ints], tuple[Any, Any, Any, Any]]:
        """Pieces of the utilisation, in fragments: one belongs where it starts."""
        phases = self.model.phases(self.requests.part(some), self.kv_cache)
        step = self.step_ms * PS_PER_MS
        begin, end = -(-phases.begin // step), -(-phases.end // step)
        first, last = phases.first * MILLE, phases.last * MILLE
        return (begin, end), (phases.head * MILLE, first, last, phases.tail * MILLE)


def plan_fragments(
    model: ClosedForm, requests: Requests, export_rate: float, kv_cache: bool = True
) -> FragmentPlan:
    """Cut each request into fragments of `export_rate` seconds.

    Raises InputError where the rate is no whole number of milliseconds up to a day, or the
    fragments would be too many to number.
    """
    step_ms = _whole_ms(export_rate)
    total = requests.prefill + requests.decode
    duration_ms = np.maximum(1, (total + PS_PER_MS // 2) // PS_PER_MS)
    counts = np.maximum(1, duration_ms // step_ms)
    wanted = float(counts.sum(dtype=np.float64))
    if wanted > MOST_FRAGMENTS:
        raise InputError(
            f"export rate {export_rate} s makes {wanted:.3g} fragments; at most "
            f"{MOST_FRAGMENTS:,} are possible: raise the rate"
        )
    return FragmentPlan(model, requests, kv_cache, step_ms, duration_ms, counts)


def _whole_ms(export_rate: float) -> int:
    if not (math.isfinite(export_rate) and 0 < export_rate <= MOST_SECONDS):
        raise InputError(f"export rate {export_rate}: seconds between 0.001 and 86400 are needed")
    step = round(export_rate * 1000)
    if step < 1 or abs(export_rate * 1000 - step) > 1e-6:
        raise InputError(
            f"export rate {export_rate} s is not a whole number of milliseconds, the unit of "
            "OpenDC's fragments"
        )
    return step
