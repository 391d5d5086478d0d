"""CostModel: what one engine iteration costs, in whole picoseconds."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from servetwin.types.attention import AttentionTables

__all__ = ["ATTENTION_FRACTION_BITS", "CostModel", "IterationCost", "MemoryPlan"]

Ints = NDArray[np.int64]

ATTENTION_FRACTION_BITS = 10
"""Prefill attention coefficients count in units of 2**-10 ps, since one token pair is short."""


@dataclass(frozen=True)
class IterationCost:
    """Integer coefficients of one iteration's duration.

    An iteration that decodes `B` sequences whose contexts sum to `S` tokens (each context
    includes the token being decoded), computes prefill chunks of `P` tokens in all, and
    samples `R` tokens (decodes, and prompts that become complete) lasts

        base + linear[B + P] + head[R] + B * decode_seq
             + decode_ctx * S + decode_window_ctx * min(S, window * B)
             + chunks * prefill_chunk
             + (prefill_attn * A + prefill_window_attn * W) >> ATTENTION_FRACTION_BITS
             + attention + speculation[B] + lora

    picoseconds. `A` sums, over the chunks, `c * (2 * done + c)` for a chunk of `c` tokens
    behind `done` computed ones: twice the number of query-key pairs, give or take the
    diagonal. `W` is the same with each query seeing at most `window` keys (see
    `sim.window_pairs`). Past the end of a table, its last entry plus `*_slope` for each
    further entry. `attention` is nothing, or what its tables say; `speculation` is nothing, or
    what drafted tokens add to an iteration of `B` decodes, less than nothing where they pay.
    `lora` is `lora_base + D * lora_adapter + T * lora_token` where `T` of its tokens need `D`
    different adapters, and nothing where none does. An
    iteration without tokens does not take place.
    """

    base: int
    linear: Ints
    """Everything that depends only on the tokens in the batch; index 0 is 0."""
    linear_slope: int
    head: Ints
    """Output head and sampling, by sampled tokens; index 0 is 0."""
    head_slope: int
    decode_seq: int
    decode_ctx: int
    prefill_chunk: int
    prefill_attn: int
    window: int = 0
    decode_window_ctx: int = 0
    prefill_window_attn: int = 0
    attention: AttentionTables | None = None
    speculation: Ints | None = None
    """By decoded sequences, up to all that an engine has seats for; index 0 is 0."""
    lora_base: int = 0
    lora_adapter: int = 0
    lora_token: int = 0

    def __post_init__(self) -> None:
        for name in ("linear", "head"):
            table = getattr(self, name)
            if table.dtype != np.int64 or table.ndim != 1 or table.size < 2 or table[0] != 0:
                raise ValueError(f"{name} must be a one-dimensional int64 table that starts at 0")
            if table.min() < 0:
                raise ValueError(f"{name} must not be negative")
        scalars = ("base", "linear_slope", "head_slope", "decode_seq", "decode_ctx")
        loras = ("lora_base", "lora_adapter", "lora_token")
        for name in (*scalars, *loras, "prefill_chunk", "prefill_attn", "window"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative")
        if self.base + int(self.linear[1]) < 1:
            raise ValueError("an iteration must last at least 1 ps")


@dataclass(frozen=True)
class MemoryPlan:
    """Where one device's memory goes, in bytes, and the KV blocks that leaves to one engine."""

    weights: int
    runtime: int
    """Activations, graphs, the allocator's and the driver's own needs."""
    kv_per_token: float
    """Bytes of KV cache that one token takes on one device."""
    kv: int
    capacity_blocks: int
    """Blocks that requests can use; the null block of vLLM is not among them."""


@dataclass(frozen=True)
class CostModel:
    """Iteration cost and memory of one engine, with the evidence behind them."""

    iteration: IterationCost
    memory: MemoryPlan
    level: str = "derived"
    """`measured`, `profiled` or `derived`, in order of trust."""
    source: str = ""
    notes: tuple[str, ...] = field(default_factory=tuple)
    """What the reader of a result should know about these figures."""
    also: tuple[CostModel, ...] = ()
    """Of each group of other replicas, `Deployment.also`."""
    decode: CostModel | None = None
    """Of the decode pool, where there is one; all the above is of the prefill pool then."""

    @property
    def kinds(self) -> tuple[CostModel, ...]:
        """Of each of `Deployment.kinds`, alone."""
        groups = (replace(self, also=(), decode=None), *self.also)
        return groups if self.decode is None else (*groups, *self.decode.kinds)
