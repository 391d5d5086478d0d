"""Count the gaps between tokens."""

from __future__ import annotations

import math

from servetwin.sim.inputs import empty_gaps
from servetwin.types.result import TokenGaps

__all__ = ["TokenGapCounter", "bin_of"]


def bin_of(gap: int) -> int:
    """Bin of a gap in picoseconds, by the rule in `TokenGaps`."""
    if gap < 1:
        return 0
    mantissa, exponent = math.frexp(float(gap))  # gap = mantissa * 2**exponent, in [0.5, 1)
    bins = TokenGaps.BINS_PER_DOUBLING
    return (exponent - 1) * bins + int((2 * mantissa - 1) * bins)


class TokenGapCounter:
    """A histogram, or nothing where nobody wants one."""

    def __init__(self, wanted: bool) -> None:
        self.wanted = wanted
        self.counts = empty_gaps(wanted)

    def add(self, gap: int) -> None:
        if self.wanted:
            self.counts[bin_of(gap)] += 1
