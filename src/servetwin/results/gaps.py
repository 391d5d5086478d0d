"""The bins of `TokenGaps`: a histogram with 256 bins to each doubling of the gap.

A gap's bin is read off its float64 representation: the exponent and the top eight bits of
the mantissa, which is the same whole-number rule in Python, numpy and a compiled kernel.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import ArrayLike, NDArray

from servetwin.types.result import TokenGaps

__all__ = ["bin_edges", "bin_of", "bins_of", "mean_from_counts", "percentile_from_counts"]

MANTISSA_SHIFT = 52 - 8
EXPONENT_BIAS = 1023 << 8


def bin_of(gap_ps: int) -> int:
    """Return the bin of one gap in picoseconds; anything below 1 ps is in bin 0.

    A gap above 2**53 ps is first rounded to the nearest float64, as the definition asks.
    """
    if gap_ps < 1:
        return 0
    (bits,) = struct.unpack("<q", struct.pack("<d", float(gap_ps)))
    return int(bits >> MANTISSA_SHIFT) - EXPONENT_BIAS


def bins_of(gaps_ps: ArrayLike) -> NDArray[np.int64]:
    """Return `bin_of` of every gap, in the shape of the input."""
    gaps = np.maximum(np.asarray(gaps_ps, dtype=np.int64), 1).astype(np.float64)
    return np.asarray((gaps.view(np.int64) >> MANTISSA_SHIFT) - EXPONENT_BIAS)


def bin_edges() -> NDArray[np.float64]:
    """Lower edges of all bins and the upper edge of the last, in picoseconds."""
    doubling, step = np.divmod(np.arange(TokenGaps.BINS + 1), TokenGaps.BINS_PER_DOUBLING)
    return np.asarray(np.ldexp(1.0 + step / TokenGaps.BINS_PER_DOUBLING, doubling))


def mean_from_counts(counts: NDArray[np.int64]) -> float:
    """Mean gap in picoseconds, every gap taken at the middle of its bin (within 0.2 %)."""
    edges = bin_edges()
    return float(np.average((edges[:-1] + edges[1:]) / 2, weights=counts))


def percentile_from_counts(counts: NDArray[np.int64], percent: float) -> float:
    """Percentile of the gaps in picoseconds, interpolated as `np.percentile` does.

    The gaps of one bin are taken to be spread evenly over it, so the answer is within one
    bin (0.4 %) of the exact one. Raises ValueError where nothing was counted.
    """
    total = int(counts.sum())
    if total == 0:
        raise ValueError("a percentile needs at least one gap")
    position = (total - 1) * (percent / 100)
    below = int(position)
    low = _ranked(counts, below)
    high = _ranked(counts, min(below + 1, total - 1))
    return low + (high - low) * (position - below)


def _ranked(counts: NDArray[np.int64], rank: int) -> float:
    """Estimate the gap that has `rank` gaps before it in sorted order."""
    upto = np.cumsum(counts)
    bin_ = int(np.searchsorted(upto, rank, side="right"))
    within = rank - int(upto[bin_] - counts[bin_])
    low, high = bin_edges()[bin_ : bin_ + 2]
    return float(low + (high - low) * (within + 0.5) / counts[bin_])
