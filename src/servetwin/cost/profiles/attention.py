"""Attention timings of one layer -> the tables that the simulators read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from servetwin.cost.profiles.grids import interpolated, thinned
from servetwin.cost.profiles.timings import AttentionTimings
from servetwin.types import AttentionTables
from servetwin.units import PS_PER_S

__all__ = ["Limits", "attention_tables", "call_seconds", "chunk_seconds", "decode_seconds"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SPACING = 1.4
"""Least ratio of neighbouring knots: between them, time is nearly affine."""


@dataclass(frozen=True)
class Limits:
    """How far the tables have to reach, and what they stand for."""

    layers: float
    """How many layers the timings of one stand for, times the factor of the machine."""
    tokens: int
    """Most tokens of an iteration."""
    sequences: int
    context: int
    ranks: int = 1
    """Data-parallel ranks, each with an even share of tokens and sequences."""


def decode_seconds(timings: AttentionTimings, decodes: Floats, context: Floats) -> Floats:
    """Seconds of one layer for `decodes` sequences of `context` tokens each."""
    grid = np.maximum.accumulate(np.maximum.accumulate(timings.decode, axis=0), axis=1)
    return interpolated((timings.decodes, timings.contexts), grid, (decodes, context))


def chunk_seconds(timings: AttentionTimings, tokens: Floats, done: Floats) -> Floats:
    """Seconds of one layer for one chunk of `tokens` behind `done` others.

    In log space between two sizes of chunks, since time turns from linear to quadratic;
    affine in `done`.
    """
    tokens, done = np.broadcast_arrays(np.maximum(tokens, timings.chunks[0]), done)
    axes, knots = (timings.chunks, timings.done), timings.chunks
    low = np.clip(np.searchsorted(knots, tokens, side="right") - 1, 0, knots.size - 2)
    ends = (interpolated(axes, timings.prefill, (knots[i], done)) for i in (low, low + 1))
    before, after = (np.log(end) for end in ends)
    share = np.log(tokens / knots[low]) / np.log(knots[low + 1] / knots[low])
    return np.asarray(np.exp(before * (1.0 - share) + after * share))


def prefill_seconds(timings: AttentionTimings, tokens: Floats, depth: Floats) -> Floats:
    """Seconds of one layer for chunks of `tokens` in all, at a mean `depth`.

    The depth of a chunk of `c` tokens behind `d` others is `2 d + c`. One below the number
    of tokens says that several prompts begin side by side: as many as the depth goes into
    the tokens, each with the time of one of them beyond the launch, but never more than
    one prompt of that length.
    """
    whole = chunk_seconds(timings, tokens, np.maximum(depth - tokens, 0.0) / 2.0)
    each = np.minimum(np.maximum(depth, timings.chunks[0]), tokens)
    launch = timings.prefill[0, 0]
    part = chunk_seconds(timings, each, np.zeros_like(each)) - launch
    many = launch + tokens / each * np.maximum(part, 0.0)
    return np.where(depth < tokens, np.minimum(many, whole), whole)


def call_seconds(
    timings: AttentionTimings, tokens: Floats, depth: Floats, decodes: Floats, context: Floats
) -> Floats:
    """Seconds of one layer for chunks and decodes in one call; `tokens` at least 1.

    Where both were timed together, the prefill part is the one above and the rest is what
    the joint call took beyond prefill. Otherwise it is the sum, which is too little.
    """
    alone = prefill_seconds(timings, tokens, depth)
    if timings.mixed is None or timings.mixed_decodes is None:
        more = decode_seconds(timings, np.maximum(decodes, timings.decodes[0]), context)
        return alone + np.where(decodes > 0, more, 0.0)
    done = np.maximum(depth - tokens, 0.0) / 2.0
    # Prefill alone is the joint grid at no decodes.
    first = np.repeat(timings.prefill[:, :, None, None], timings.contexts.size, axis=3)
    grid = np.concatenate((first, timings.mixed), axis=2)
    axes = (
        timings.chunks,
        timings.done,
        np.append(0.0, timings.mixed_decodes),
        timings.contexts,
    )
    joint = interpolated(axes, grid, (tokens, done, decodes, context))
    prefill = interpolated(axes[:2], timings.prefill, (tokens, done))
    return alone + np.maximum(joint - prefill, 0.0)


def attention_tables(
    timings: AttentionTimings, limits: Limits, longer: Floats | None = None
) -> AttentionTables:
    """Tables for all layers, each figure rounded to whole picoseconds once.

    `longer` (one factor for each batch from 1 to `limits.sequences`) is what decode
    attention takes beyond that of equal contexts; see `skew`.
    """
    contexts = _knots(timings.contexts, limits.context)
    offset, slope = _segments(timings, limits, contexts, longer)
    chunks = _knots(timings.chunks * limits.ranks, limits.tokens)
    reach = 2 * (limits.context + limits.tokens)
    depths = _knots(np.append(timings.chunks, 2.0 * timings.done[timings.done > 0]), reach)
    many = timings.decodes if timings.mixed_decodes is None else timings.mixed_decodes
    decodes = np.append(0, _knots(many * limits.ranks, limits.sequences))
    joint = call_seconds(
        timings,
        chunks[:, None, None, None] / limits.ranks,
        depths[None, :, None, None].astype(np.float64),
        decodes[None, None, :, None] / limits.ranks,
        contexts[None, None, None, :].astype(np.float64),
    )
    return AttentionTables(
        contexts=contexts,
        offset=offset,
        slope=slope,
        chunks=chunks,
        depths=depths,
        decodes=decodes,
        joint=np.rint(joint * limits.layers * PS_PER_S).astype(np.int64),
    )


def _knots(timed: Floats, reach: int) -> Ints:
    """The timed sizes, thinned, and one more at `reach` where that lies beyond them."""
    sizes = np.unique(np.rint(timed))
    knots: Sequence[int] = [round(size) for size in sizes[thinned(sizes, SPACING)]]
    if reach > knots[-1]:
        knots = [*knots, reach]
    return np.array(knots, dtype=np.int64)


def _segments(
    timings: AttentionTimings, limits: Limits, contexts: Ints, longer: Floats | None
) -> tuple[Ints, Ints]:
    """Offset and slope of decode attention for each batch, between the knots."""
    batch = np.arange(1, limits.sequences + 1, dtype=np.float64)
    share = np.maximum(batch / limits.ranks, 1.0)
    seconds = decode_seconds(timings, share[:, None], contexts[None, :].astype(np.float64))
    if longer is not None:
        seconds = seconds * longer[:, None]
    values = seconds * limits.layers * PS_PER_S
    steps = batch[:, None] * np.diff(contexts)[None, :]
    slope = np.maximum(np.rint(np.diff(values, axis=1) / steps), 0.0).astype(np.int64)
    # Before the first knot as at it, and beyond the last as before it.
    slope = np.concatenate((slope, slope[:, -1:]), axis=1)
    sums = np.arange(1, limits.sequences + 1)[:, None] * contexts[None, :]
    offset = np.rint(values).astype(np.int64) - slope * sums
    zero = np.zeros((1, contexts.size), dtype=np.int64)
    return np.concatenate((zero, offset)), np.concatenate((zero, slope))
