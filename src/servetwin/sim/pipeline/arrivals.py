"""Arrivals as the original draws them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from servetwin.errors import InputError

__all__ = ["SEED", "grouped_arrivals"]

SEED = 42


def grouped_arrivals(
    requests: int, rps: float, group: int = 1, seed: int = SEED
) -> NDArray[np.float64]:
    """Return arrivals in µs: Poisson groups of `group` requests, the first group at 0.

    Groups arrive at `rps` a second; 0 lets all arrive at 0. Requests that fill no group
    arrive at 0 (the original's mistake: with groups of 1 there are none). numpy's legacy
    generator, and sums of µs in order, repeat the original's arrivals bit for bit.
    """
    if not 0 <= rps < float("inf"):
        raise InputError(f"--rps {rps:g}: must be a rate of 0 or more requests a second")
    arrivals = np.zeros(requests)
    if rps == 0:
        return arrivals
    # A fresh legacy generator draws what the global one does after the same seed.
    gaps = np.random.RandomState(seed).exponential(scale=1 / rps, size=requests) * 1_000_000
    groups = requests // group
    starts = np.concatenate(([0.0], np.cumsum(gaps[: max(groups - 1, 0)])))[:groups]
    arrivals[: groups * group] = np.repeat(starts, group)
    return arrivals
