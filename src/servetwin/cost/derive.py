"""Deployment -> CostModel at the level "derived": roofline with fitted efficiency curves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from servetwin.cost.attention import attention_cost
from servetwin.cost.capacity import capacity_context
from servetwin.cost.curves import US, Curves, Roof, curves_for
from servetwin.cost.dtypes import peak_flops
from servetwin.cost.kinds import cost_of_kinds
from servetwin.cost.launches import with_launch_floor
from servetwin.cost.linear import head_parts, token_parts
from servetwin.cost.lora import with_adapters
from servetwin.cost.memory import plan_memory
from servetwin.cost.notes import deployment_notes, low_capacity, raised_capacity, slot_note
from servetwin.cost.speculation import speculate
from servetwin.types import CostModel, Deployment, IterationCost
from servetwin.types.cost import ATTENTION_FRACTION_BITS
from servetwin.units import PS_PER_S

__all__ = ["derive", "derive_iteration"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def derive(
    deployment: Deployment,
    typical_context: int,
    lengths: NDArray[np.integer] | None = None,
    curves: Curves | None = None,
) -> CostModel:
    """Cost and memory of one engine.

    `typical_context` is that of a sequence seen at a random step, in tokens: see
    `plan_memory`. Given the `lengths` of all requests (input and output), the blocks are
    counted at a longer context where otherwise requests would be rejected that fit. Other
    `curves` than the packaged ones serve to test what is predicted without some timings. The
    result holds the costs of a decode pool, and of further kinds of engines, where there are any.
    """

    def one_kind(kind: Deployment) -> CostModel:
        return _derive(kind, typical_context, lengths, curves or curves_for(kind.accelerator.name))

    return cost_of_kinds(deployment, one_kind)


def _derive(
    deployment: Deployment,
    typical_context: int,
    lengths: NDArray[np.integer] | None,
    curves: Curves,
) -> CostModel:
    context = typical_context
    if lengths is not None:
        context = capacity_context(deployment, typical_context, lengths)
    memory = plan_memory(deployment, context)
    if context > typical_context:
        capacity = raised_capacity(deployment, memory, context, typical_context)
    else:
        capacity = low_capacity(deployment, memory, context) if lengths is None else ()
    return CostModel(
        iteration=with_adapters(
            speculate(derive_iteration(deployment, curves), deployment), deployment
        ),
        memory=memory,
        level="derived",
        source=f"roofline of {deployment.accelerator.name}; efficiency: {curves.source}",
        notes=(*deployment_notes(deployment, curves), *slot_note(deployment, memory), *capacity),
    )


def derive_iteration(deployment: Deployment, curves: Curves) -> IterationCost:
    """Coefficients of one iteration, each rounded to whole picoseconds once."""
    settings = deployment.settings
    roof = Roof(peak_flops(deployment.accelerator, "bf16"), deployment.accelerator.bandwidth)
    attention = attention_cost(deployment, curves, roof)

    def per_batch(tokens: Floats) -> Floats:
        parts = token_parts(deployment, curves, tokens)
        return np.asarray(sum(parts.values()) + attention.launch + attention.prefill_token * tokens)

    def per_sample(sampled: Floats) -> Floats:
        return np.asarray(sum(head_parts(deployment, curves, sampled).values()))

    host, blocking = curves.host, 0.0 if settings.plans_ahead else 1.0
    base = host.step_us + blocking * host.blocking_us
    size = max(settings.max_num_batched_tokens, settings.max_num_seqs)
    of_tokens = with_launch_floor(per_batch, deployment, curves, base * US)
    linear, linear_slope = _tabled(of_tokens, size)
    head, head_slope = _tabled(per_sample, settings.max_num_seqs)
    batched = blocking if settings.max_num_seqs > 1 else 0.0
    sequence = attention.decode_seq + batched * host.blocking_sequence_us * US
    # `A` and `W` count every pair twice.
    pair_unit = PS_PER_S * 2**ATTENTION_FRACTION_BITS / 2
    return IterationCost(
        base=round(base * 1e6),
        linear=linear,
        linear_slope=linear_slope,
        head=head,
        head_slope=head_slope,
        decode_seq=round(sequence * PS_PER_S),
        decode_ctx=round(attention.decode_ctx * PS_PER_S),
        prefill_chunk=round(attention.prefill_chunk * PS_PER_S),
        prefill_attn=round(attention.prefill_pair * pair_unit),
        window=attention.window,
        decode_window_ctx=round(attention.decode_window_ctx * PS_PER_S),
        prefill_window_attn=round(attention.prefill_window_pair * pair_unit),
    )


def _tabled(seconds: Callable[[Floats], Floats], size: int) -> tuple[Ints, int]:
    """Picoseconds for 0 (free) to `size`, and for each one beyond.

    The slope is the mean over as many again, so that twice the table is exact to rounding.
    """
    counts = np.append(np.arange(1.0, size + 1), 2.0 * size)
    values = seconds(counts) * PS_PER_S
    table = np.zeros(size + 1, dtype=np.int64)
    table[1:] = np.rint(values[:-1])
    return table, max(1, round(float(values[-1] - values[-2]) / size))
