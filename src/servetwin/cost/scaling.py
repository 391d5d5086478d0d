"""Every iteration of a cost model longer or shorter by one factor."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from servetwin.types import CostModel, IterationCost
from servetwin.types.attention import AttentionTables

__all__ = ["scaled"]

SCALARS = (
    "base",
    "linear_slope",
    "head_slope",
    "decode_seq",
    "decode_ctx",
    "decode_window_ctx",
    "prefill_chunk",
    "prefill_attn",
    "prefill_window_attn",
    "lora_base",
    "lora_adapter",
    "lora_token",
)
Ints = NDArray[np.int64]


def scaled(cost: CostModel, factor: float) -> CostModel:
    """Multiply the duration of every iteration by `factor`, which must be positive.

    Each coefficient is rounded to a whole number of its unit, so an iteration is off by less
    than a picosecond for each coefficient and token. Memory stays as it is.
    """
    if factor <= 0:
        raise ValueError("factor must be positive")
    one = cost.iteration
    scalars = {name: round(getattr(one, name) * factor) for name in SCALARS}
    if one.base:
        scalars["base"] = max(1, scalars["base"])
    attention = None if one.attention is None else _attention(one.attention, factor)
    iteration: IterationCost = replace(
        one,
        linear=_times(one.linear, factor),
        head=_times(one.head, factor),
        attention=attention,
        speculation=None if one.speculation is None else _times(one.speculation, factor),
        **scalars,
    )
    decode = None if cost.decode is None else scaled(cost.decode, factor)
    also = tuple(scaled(other, factor) for other in cost.also)
    return replace(cost, iteration=iteration, also=also, decode=decode)


def _attention(tables: AttentionTables, factor: float) -> AttentionTables:
    costs = {name: _times(getattr(tables, name), factor) for name in ("offset", "slope", "joint")}
    return replace(tables, **costs)


def _times(table: Ints, factor: float) -> Ints:
    return np.asarray(np.rint(table * factor), dtype=np.int64)
