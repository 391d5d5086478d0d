"""AttentionTables: attention that no single formula describes, in whole picoseconds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["WEIGHT_BITS", "AttentionTables"]

Ints = NDArray[np.int64]

WEIGHT_BITS = 12
"""Places between two knots count in units of 2**-12 of their distance."""


@dataclass(frozen=True)
class AttentionTables:
    """Attention of all layers in one iteration, tabled.

    `B` sequences decode, and their contexts sum to `S` tokens. Without prefill chunks they
    take `offset[B, j] + slope[B, j] * S`, where `j` is the last knot with
    `contexts[j] * B <= S` (0 where there is none). While the same sequences decode, `S` grows
    by `B` in each iteration, so time is affine in the number of iterations until
    `S >= contexts[j + 1] * B`: a simulator may jump that far.

    With chunks of `P` tokens in all and pairs `A` (see `IterationCost`) the time is the one
    of `joint` at `P` tokens, a depth of `A / P`, `B` decodes and a mean context of `S / B`:
    affine between the knots along each axis, and beyond the last ones. A place along an axis
    is a whole number of 2**-12 of the cell, rounded down and at least 0; the four axes are
    taken one after another, contexts first and chunks last, each rounding down.
    """

    contexts: Ints
    """Knots of the mean decode context, ascending; at least two."""
    offset: Ints
    """Shape (largest B + 1, contexts); row 0 is 0."""
    slope: Ints
    """Shape as `offset`, not negative."""
    chunks: Ints
    """Knots of the prefill tokens, ascending."""
    depths: Ints
    """Knots of the mean of twice the done tokens plus those of the chunk, ascending."""
    decodes: Ints
    """Knots of the decodes, from 0."""
    joint: Ints
    """Shape (chunks, depths, decodes, contexts)."""

    def __post_init__(self) -> None:
        for name in ("contexts", "chunks", "depths", "decodes"):
            knots = getattr(self, name)
            if knots.dtype != np.int64 or knots.size < 2 or np.any(np.diff(knots) <= 0):
                raise ValueError(f"{name} must be at least two ascending int64 knots")
        knots_of = (self.chunks, self.depths, self.decodes, self.contexts)
        if self.joint.dtype != np.int64 or self.joint.shape != tuple(k.size for k in knots_of):
            raise ValueError("joint must be int64 with a value for each combination of knots")
        rows = self.offset.shape
        if len(rows) != 2 or self.slope.shape != rows or rows[1] != self.contexts.size:
            raise ValueError("offset and slope need a row for each batch, a column for each knot")
        if self.offset.dtype != np.int64 or self.slope.dtype != np.int64 or self.slope.min() < 0:
            raise ValueError("offset and slope must be int64, and slope not negative")
        if self.decodes[0] != 0 or self.offset[0].any() or self.slope[0].any():
            raise ValueError("no decodes must cost nothing")

    @property
    def max_decodes(self) -> int:
        """Most sequences that may decode at once."""
        return int(self.offset.shape[0]) - 1

    def segment(self, decodes: int, contexts: int) -> int:
        """The `j` of a batch whose contexts sum to `contexts`."""
        knots = self.contexts
        j = 0
        while j + 1 < knots.size and int(knots[j + 1]) * decodes <= contexts:
            j += 1
        return j

    def decode(self, decodes: int, contexts: int) -> int:
        """Picoseconds of an iteration without prefill chunks."""
        j = self.segment(decodes, contexts)
        return int(self.offset[decodes, j]) + int(self.slope[decodes, j]) * contexts

    def mixed(self, tokens: int, pairs: int, decodes: int, contexts: int) -> int:
        """Picoseconds of an iteration with chunks of `tokens` (at least 1) in all."""
        p, p_share = _place(self.chunks, tokens, 1)
        d, d_share = _place(self.depths, pairs, tokens)
        n, n_share = _place(self.decodes, decodes, 1)
        c, c_share = _place(self.contexts, contexts, decodes) if decodes else (0, 0)
        cell: NDArray[np.int64] = self.joint[p : p + 2, d : d + 2, n : n + 2, c : c + 2]
        for share in (c_share, n_share, d_share, p_share):
            cell = cell[..., 0] + ((cell[..., 1] - cell[..., 0]) * share >> WEIGHT_BITS)
        return max(0, int(cell))


def _place(knots: Ints, total: int, count: int) -> tuple[int, int]:
    """Cell of `total / count` among the knots, and its place there in units of 2**-12."""
    i = 0
    while i + 2 < knots.size and int(knots[i + 1]) * count <= total:
        i += 1
    low, high = int(knots[i]), int(knots[i + 1])
    share = ((total - low * count) << WEIGHT_BITS) // ((high - low) * count)
    return i, max(0, share)
