"""Tabled attention: `types.AttentionTables`, in flat arrays, at [kind of engine, …]."""

from __future__ import annotations

import numpy as np

from servetwin.sim.kernel.compile import inlined, outlined
from servetwin.sim.kernel.state import Attention, Int, Ints
from servetwin.types.attention import WEIGHT_BITS

__all__ = ["KNOTS", "decode", "mixed", "segment"]

KNOTS = ("contexts", "chunks", "depths", "decodes")
"""The columns of `Attention.sizes`."""
CONTEXTS, CHUNKS, DEPTHS, DECODES = range(4)


@inlined
def segment(tables: Attention, kind: Int, batch: Int, contexts: Int) -> Int:
    """The last knot that the mean context has reached."""
    knots, count = tables.contexts[kind], tables.sizes[kind, CONTEXTS]
    j = 0
    while j + 1 < count and knots[j + 1] * batch <= contexts:
        j += 1
    return np.int64(j)


@inlined
def decode(tables: Attention, kind: Int, batch: Int, contexts: Int) -> Int:
    """Picoseconds without prefill chunks."""
    j = segment(tables, kind, batch, contexts)
    return tables.offset[kind, batch, j] + tables.slope[kind, batch, j] * contexts


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
def mixed(tables: Attention, kind: Int, tokens: Int, pairs: Int, batch: Int, contexts: Int) -> Int:
    """Picoseconds with prefill chunks of `tokens` in all."""
    sizes = tables.sizes[kind]
    chunks = tables.chunks[kind, : sizes[CHUNKS]]
    p = _cell(chunks, tokens, 1)
    p_share = _share(chunks, p, tokens, 1)
    depths = tables.depths[kind, : sizes[DEPTHS]]
    d = _cell(depths, pairs, tokens)
    d_share = _share(depths, d, pairs, tokens)
    decodes = tables.decodes[kind, : sizes[DECODES]]
    n = _cell(decodes, batch, 1)
    n_share = _share(decodes, n, batch, 1)
    c, c_share = np.int64(0), np.int64(0)
    if batch > 0:
        knots = tables.contexts[kind, : sizes[CONTEXTS]]
        c = _cell(knots, contexts, batch)
        c_share = _share(knots, c, contexts, batch)
    corners = tables.joint[kind, p : p + 2, d : d + 2, n : n + 2, c : c + 2]
    low = _between(
        _corner(corners[0, 0], n_share, c_share), _corner(corners[0, 1], n_share, c_share), d_share
    )
    high = _between(
        _corner(corners[1, 0], n_share, c_share), _corner(corners[1, 1], n_share, c_share), d_share
    )
    return np.int64(max(0, _between(low, high, p_share)))
