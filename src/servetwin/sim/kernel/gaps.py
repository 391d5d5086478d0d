"""Histogram of the gaps between tokens, by the rule in `TokenGaps`."""

import numpy as np

from servetwin.sim.kernel.compile import inlined, outlined
from servetwin.sim.kernel.state import Int, Ints

__all__ = ["bin_of", "count_series"]


@inlined
def bin_of(gap: Int) -> Int:
    """Exponent and first eight bits of the mantissa of the gap as a float64."""
    if gap < 1:
        return np.int64(0)
    bits = np.float64(gap).view(np.int64)
    return (bits >> 44) - (1023 << 8)


@inlined
def _lower_edge(index: Int) -> Int:
    """The least whole gap of bin `index`."""
    exponent = index >> 8
    mantissa = 256 + (index & 255)
    if exponent >= 8:
        return mantissa << (exponent - 8)
    shift = 8 - exponent
    return (mantissa + (1 << shift) - 1) >> shift


@outlined
def count_series(counts: Ints, first: Int, step: Int, length: Int, weight: Int) -> None:
    """Count `weight` gaps of each of first, first + step, … (`length` terms)."""
    last = bin_of(first + step * (length - 1))
    done = np.int64(0)
    here = bin_of(first)
    while here < last:
        edge = _lower_edge(here + 1)
        # Terms below the edge: the least i with first + i * step >= edge.
        upto = (edge - first + step - 1) // step
        # Beyond 2**53 a float rounds up into the next bin a little before the edge.
        while upto > done and bin_of(first + step * (upto - 1)) > here:
            upto -= 1
        counts[here] += weight * (upto - done)
        done = upto
        here = bin_of(first + step * done)
    counts[last] += weight * (length - done)
