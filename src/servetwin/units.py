"""Units and the simulated clock.

Time inside servetwin is a whole number of picoseconds in an int64, which reaches
106 days. Whole numbers add up in any order to the same sum, so a fast path can be
compared with a slow one by `==`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "CLOCK_END_PS",
    "GIB",
    "MAX_TIME_PS",
    "NOT_YET",
    "PS_PER_MS",
    "PS_PER_NS",
    "PS_PER_S",
    "PS_PER_US",
    "ceil_div",
    "ps_from_seconds",
    "seconds_from_ps",
]

PS_PER_NS = 10**3
PS_PER_US = 10**6
PS_PER_MS = 10**9
PS_PER_S = 10**12

MAX_TIME_PS = 90 * 86_400 * PS_PER_S
"""Latest arrival or think time a workload may name: 90 days, which leaves room to finish."""

CLOCK_END_PS = 92 * 10**17
"""A run may last until here, just below the end of the clock: 106 days."""

NOT_YET = -1
"""In a column of times: the event did not happen."""

GIB = 1 << 30


def ps_from_seconds(seconds: ArrayLike) -> NDArray[np.int64]:
    """Convert seconds (finite float or array) to the nearest whole picosecond.

    Raises ValueError for NaN, infinity, or a magnitude beyond the clock's 106 days.
    """
    values = np.asarray(seconds, dtype=np.float64)
    if not np.all(np.isfinite(values)) or np.any(np.abs(values) >= 9.2e6):
        raise ValueError("time is not finite or beyond the 106 days of the clock")
    whole = np.floor(values)
    fraction = np.rint((values - whole) * PS_PER_S).astype(np.int64)
    return np.asarray(whole.astype(np.int64) * PS_PER_S + fraction)


def seconds_from_ps(picoseconds: ArrayLike) -> NDArray[np.float64]:
    """Convert picoseconds to float64 seconds; `NOT_YET` becomes NaN."""
    values = np.asarray(picoseconds, dtype=np.int64)
    # Whole seconds apart: the quotient alone would round twice beyond 2**53 ps.
    whole, rest = np.divmod(values, PS_PER_S)
    return np.where(values == NOT_YET, np.nan, whole + rest / PS_PER_S)


def ceil_div(numerator: int, denominator: int) -> int:
    """Divide whole numbers, rounding up."""
    return -(-numerator // denominator)
