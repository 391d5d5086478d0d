"""Mean, percentiles and maximum of a latency."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["PERCENTILES", "Stats", "describe"]

PERCENTILES = {"p50": 50, "p90": 90, "p95": 95, "p99": 99}

Stats = dict[str, float | None]


def describe(values_ps: NDArray[np.float64], unit: int) -> Stats:
    """Return mean, percentiles and maximum of `values_ps`, divided by `unit` picoseconds.

    Percentiles equal those of `np.percentile` (linear interpolation). `values_ps` is
    reordered in place, which spares a copy of a long column.
    """
    n = values_ps.size
    if n == 0:
        return dict.fromkeys(("mean", *PERCENTILES, "max"))
    result: Stats = {"mean": float(values_ps.mean()) / unit}
    positions = {name: (n - 1) * (percent / 100) for name, percent in PERCENTILES.items()}
    ranks = {rank for position in positions.values() for rank in _ranks(position, n)}
    values_ps.partition(sorted(ranks | {n - 1}))
    for name, position in positions.items():
        low, high = (float(values_ps[rank]) for rank in _ranks(position, n))
        result[name] = _between(low, high, position - int(position)) / unit
    result["max"] = float(values_ps[n - 1]) / unit
    return result


def _ranks(position: float, n: int) -> tuple[int, int]:
    return int(position), min(int(position) + 1, n - 1)


def _between(low: float, high: float, share: float) -> float:
    """Interpolate exactly as numpy does, from the nearer end, so that results are equal."""
    if share < 0.5:
        return low + (high - low) * share
    return high - (high - low) * (1 - share)
