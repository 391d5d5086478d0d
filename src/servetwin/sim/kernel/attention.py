"""Tabled attention: `types.AttentionTables`, in flat arrays."""

from __future__ import annotations

import numpy as np

from servetwin.sim.kernel.compile import inlined, outlined
from servetwin.sim.kernel.state import Attention, Int, Ints
from servetwin.types import AttentionTables
from servetwin.types.attention import WEIGHT_BITS

__all__ = ["attention_arrays", "decode", "mixed", "segment"]


def attention_arrays(tables: AttentionTables | None) -> Attention:
    """The arrays of `tables`, or empty ones of the same dimensions."""
    if tables is not None:
        return Attention(*(getattr(tables, name) for name in Attention._fields))
    line, plane = np.zeros(0, np.int64), np.zeros((0, 0), np.int64)
    return Attention(line, plane, plane, line, line, line, np.zeros((0, 0, 0, 0), np.int64))


@inlined
def segment(tables: Attention, batch: Int, contexts: Int) -> Int:
    """The last knot that the mean context has reached."""
    knots = tables.contexts
    j = 0
    while j + 1 < knots.size and knots[j + 1] * batch <= contexts:
        j += 1
    return np.int64(j)


@inlined
def decode(tables: Attention, batch: Int, contexts: Int) -> Int:
    """Picoseconds without prefill chunks."""
    j = segment(tables, batch, contexts)
    return tables.offset[batch, j] + tables.slope[batch, j] * contexts


@inlined
def _cell(knots: Ints, total: Int, count: Int) -> Int:
    """Cell of `total / count` among the knots."""
    i = 0
    while i + 2 < knots.size and knots[i + 1] * count <= total:
        i += 1
    return np.int64(i)


@inlined
def _share(knots: Ints, cell: Int, total: Int, count: Int) -> Int:
    """How far `total / count` lies within its cell, in units of 2**-12; at least 0."""
    low, high = knots[cell], knots[cell + 1]
    return np.int64(max(0, ((total - low * count) << WEIGHT_BITS) // ((high - low) * count)))


@inlined
def _between(low: Int, high: Int, share: Int) -> Int:
    return low + ((high - low) * share >> WEIGHT_BITS)


@inlined
def _corner(cell: Ints, n_share: Int, c_share: Int) -> Int:
    """Between decodes and contexts, at one number of tokens and one depth."""
    few = _between(cell[0, 0], cell[0, 1], c_share)
    more = _between(cell[1, 0], cell[1, 1], c_share)
    return _between(few, more, n_share)


@outlined
def mixed(tables: Attention, tokens: Int, pairs: Int, batch: Int, contexts: Int) -> Int:
    """Picoseconds with prefill chunks of `tokens` in all."""
    p = _cell(tables.chunks, tokens, 1)
    p_share = _share(tables.chunks, p, tokens, 1)
    d = _cell(tables.depths, pairs, tokens)
    d_share = _share(tables.depths, d, pairs, tokens)
    n = _cell(tables.decodes, batch, 1)
    n_share = _share(tables.decodes, n, batch, 1)
    c, c_share = np.int64(0), np.int64(0)
    if batch > 0:
        c = _cell(tables.contexts, contexts, batch)
        c_share = _share(tables.contexts, c, contexts, batch)
    corners = tables.joint[p : p + 2, d : d + 2, n : n + 2, c : c + 2]
    low = _between(
        _corner(corners[0, 0], n_share, c_share), _corner(corners[0, 1], n_share, c_share), d_share
    )
    high = _between(
        _corner(corners[1, 0], n_share, c_share), _corner(corners[1, 1], n_share, c_share), d_share
    )
    return np.int64(max(0, _between(low, high, p_share)))
