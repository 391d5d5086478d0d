"""How busy a device is: the share of its arithmetic and of its memory traffic that work needs.

The roofline that gives an iteration its time (`cost.linear`, `cost.attention`) is asked twice
more, with kernels that reach every peak: once for a device whose bandwidth has no bound,
where only arithmetic takes time, and once for one whose arithmetic has none, where only
traffic does. Those ideal seconds over the real ones are the two utilisations, for every
kind of layer, format and parallelism that the cost model knows.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from servetwin.cost.attention import AttentionCost, attention_cost
from servetwin.cost.curves import Curves, Roof, curves_for
from servetwin.cost.dtypes import peak_flops
from servetwin.cost.linear import head_parts, token_parts
from servetwin.cost.profiles.grids import interpolated
from servetwin.types import AttentionTables, Deployment, IterationCost
from servetwin.types.cost import ATTENTION_FRACTION_BITS
from servetwin.units import PS_PER_S

__all__ = ["Utilization", "Work", "iteration_seconds", "utilization"]

Floats = NDArray[np.float64]
UNBOUNDED = 1e30
"""FLOP/s or bytes/s that make any work instantaneous."""


@dataclass(frozen=True)
class Work:
    """What one engine did in each of n intervals; float64 arrays of shape (n,).

    Totals over the interval, not rates; nothing here is negative.
    """

    seconds: Floats
    """Time in which the engine had work; an interval without work has 0."""
    iterations: Floats
    decode_tokens: Floats
    prefill_tokens: Floats
    decode_context: Floats
    """Cached tokens that decoding read: the context of each decoded token, summed."""
    prefill_context: Floats
    """Keys that prompt tokens attended to, summed over the prompt tokens."""
    prompts: Floats
    """Prompts that became complete, so that their first token was sampled."""

    def __post_init__(self) -> None:
        shape = self.seconds.shape
        for field in fields(self):
            column = getattr(self, field.name)
            if column.shape != shape:
                raise ValueError(f"{field.name} must have one entry an interval")
            if column.size and not (np.isfinite(column).all() and column.min() >= 0):
                raise ValueError(f"{field.name} must be finite and not negative")
        tokens = self.decode_tokens + self.prefill_tokens
        if np.any(((self.iterations <= 0) | (self.seconds <= 0)) & (tokens > 0)):
            raise ValueError("tokens were computed in no time or in no iteration")


@dataclass(frozen=True)
class Utilization:
    """Shares of one device's peaks while it had work; arrays of shape (n,) in 0..1."""

    compute: Floats
    """Dense FLOP done / (peak FLOP/s x seconds), each format against its own peak."""
    memory: Floats
    """Bytes moved / (peak bytes/s x seconds)."""

    @property
    def roofline(self) -> Floats:
        """The larger of compute and memory: how near the binding resource is to its peak."""
        return np.maximum(self.compute, self.memory)


def utilization(deployment: Deployment, work: Work) -> Utilization:
    """Utilisation of each device of one engine, averaged over its devices.

    Pipeline stages take turns, so each is busy for its share of an iteration. A measured
    time shorter than the ideal one (an assumed input length may be too long) counts as 1.
    """
    compute = _ideal_seconds(deployment, work, bandwidth=UNBOUNDED)
    memory = _ideal_seconds(deployment, work, flops=UNBOUNDED)
    stages = deployment.parallelism.pp
    working = work.seconds > 0
    scale = np.where(working, 1.0 / (np.where(working, work.seconds, 1.0) * stages), 0.0)
    return Utilization(*(np.minimum(1.0, part * scale) for part in (compute, memory)))


def iteration_seconds(cost: IterationCost, work: Work) -> Floats:
    """Seconds that the iterations of each interval take, if they share its work evenly.

    The formula is that of `types.cost.IterationCost`, with means instead of whole numbers.
    """
    count = np.maximum(work.iterations, 1e-12)
    decode, prefill = work.decode_tokens / count, work.prefill_tokens / count
    context = work.decode_context / count
    total = cost.base + _entry(cost.linear, cost.linear_slope, decode + prefill)
    sampled = decode + np.minimum(work.prompts / count, prefill)
    total = total + _entry(cost.head, cost.head_slope, sampled)
    windowed = np.minimum(context, cost.window * decode)
    total = total + decode * cost.decode_seq + cost.decode_ctx * context
    total = total + cost.decode_window_ctx * windowed
    chunks = np.minimum(1.0, prefill)
    pairs = 2.0 * work.prefill_context / count
    window_pairs = np.minimum(pairs, 2.0 * cost.window * prefill)
    attention = cost.prefill_attn * pairs + cost.prefill_window_attn * window_pairs
    total = total + chunks * cost.prefill_chunk + attention / 2**ATTENTION_FRACTION_BITS
    if cost.speculation is not None:
        total = total + _entry(cost.speculation, 0, decode)
    if cost.attention is not None:
        total = total + _tabled(cost.attention, decode, context, prefill, pairs)
    return np.where(work.iterations > 0, total * work.iterations / PS_PER_S, 0.0)


def _tabled(
    tables: AttentionTables, decode: Floats, context: Floats, prefill: Floats, pairs: Floats
) -> Floats:
    """Picoseconds of attention, the decodes and the chunks apart."""
    batch = np.clip(np.rint(decode), 1, tables.max_decodes).astype(np.int64)
    mean = context / np.maximum(decode, 1e-12)
    knot = np.clip(np.searchsorted(tables.contexts, mean, side="right") - 1, 0, None)
    apart = tables.offset[batch, knot] + tables.slope[batch, knot] * mean * batch
    axes = tables.chunks.astype(np.float64), tables.depths.astype(np.float64)
    depth = pairs / np.maximum(prefill, 1e-12)
    alone = interpolated(axes, tables.joint[:, :, 0, 0].astype(np.float64), (prefill, depth))
    return np.where(decode > 0, apart * decode / batch, 0.0) + np.where(prefill > 0, alone, 0.0)


def _entry(table: NDArray[np.int64], slope: int, index: Floats) -> Floats:
    """Entry of a table at a fractional index, interpolated, and beyond its end by slope."""
    last = table.size - 1
    inside = np.interp(index, np.arange(table.size), table)
    return np.asarray(inside + slope * np.maximum(0.0, index - last))


def _ideal_seconds(
    deployment: Deployment, work: Work, flops: float | None = None, bandwidth: float | None = None
) -> Floats:
    """Seconds of all work on perfect kernels, with one of the two roofs replaced."""
    ideal = _with_roof(deployment, flops, bandwidth)
    curves = _perfect(curves_for(deployment.accelerator.name))
    roof = Roof(peak_flops(ideal.accelerator, "bf16"), ideal.accelerator.bandwidth)
    attention = attention_cost(ideal, curves, roof)
    count = np.maximum(work.iterations, 1e-12)
    tokens = (work.decode_tokens + work.prefill_tokens) / count
    parts = token_parts(ideal, curves, np.maximum(tokens, 1e-9))
    linear = sum(seconds for name, seconds in parts.items() if name != "collectives")
    sampled = (work.decode_tokens + work.prompts) / count
    head = head_parts(ideal, curves, np.maximum(sampled, 1e-9))
    per_iteration = np.asarray(linear + head["head"] + head["sampler"])
    total = np.where(tokens > 0, per_iteration, 0.0) * work.iterations
    return np.asarray(total + _attention_seconds(attention, work))


def _attention_seconds(cost: AttentionCost, work: Work) -> Floats:
    windowed = np.minimum(work.decode_context, cost.window * work.decode_tokens)
    decode = cost.decode_ctx * work.decode_context + cost.decode_window_ctx * windowed
    seen = np.minimum(work.prefill_context, cost.window * work.prefill_tokens)
    prefill = cost.prefill_pair * work.prefill_context + cost.prefill_window_pair * seen
    tokens = cost.decode_seq * work.decode_tokens + cost.prefill_token * work.prefill_tokens
    return np.asarray(decode + prefill + tokens)


def _with_roof(deployment: Deployment, flops: float | None, bandwidth: float | None) -> Deployment:
    accelerator = deployment.accelerator
    if flops is not None:
        accelerator = replace(accelerator, flops=dict.fromkeys(accelerator.flops, flops))
    if bandwidth is not None:
        accelerator = replace(accelerator, bandwidth=bandwidth)
    return replace(deployment, accelerator=accelerator)


def _perfect(curves: Curves) -> Curves:
    """Kernels that start at once, waste nothing and reach every peak."""
    gemm = replace(
        curves.gemm, launch_us=0.0, memory=1.0, compute=1.0, half_rows=0.0, sharpness=1.0
    )
    return replace(
        curves,
        gemm=gemm,
        gemm_fp8=gemm,
        decode=replace(curves.decode, launch_us=0.0, memory=1.0, extra_tokens=0.0),
        prefill=replace(curves.prefill, launch_us=0.0, compute=1.0, extra_keys=0.0),
        elementwise=replace(curves.elementwise, launch_us=0.0, memory=1.0),
        mixture=replace(curves.mixture, launch_us=0.0, padding_rows=0.0),
        sampler=replace(curves.sampler, launch_us=0.0),
    )
