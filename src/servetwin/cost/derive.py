"""Deployment -> CostModel at the level "derived": roofline with fitted efficiency curves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from servetwin.cost.attention import attention_cost
from servetwin.cost.capacity import capacity_context, is_uneven
from servetwin.cost.curves import Curves, Roof, curves_for
from servetwin.cost.dtypes import compute_dtype, half_dtype, peak_flops
from servetwin.cost.linear import head_parts, token_parts
from servetwin.cost.memory import plan_memory
from servetwin.types import CostModel, Deployment, IterationCost, MemoryPlan
from servetwin.types.cost import ATTENTION_FRACTION_BITS
from servetwin.units import PS_PER_S

__all__ = ["derive", "derive_iteration"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
ONE_MACHINE = 8
"""Devices that share a machine's own links, but for systems of a whole rack."""


def derive(
    deployment: Deployment, typical_context: int, lengths: NDArray[np.integer] | None = None
) -> CostModel:
    """Cost and memory of one engine.

    `typical_context` is that of a sequence seen at a random step, in tokens: see
    `plan_memory`. Given the `lengths` of all requests (input and output), the blocks are
    counted at a longer context where otherwise requests would be rejected that fit.
    """
    curves = curves_for(deployment.accelerator.name)
    context = typical_context
    if lengths is not None:
        context = capacity_context(deployment, typical_context, lengths)
    memory = plan_memory(deployment, context)
    if context > typical_context:
        capacity = _raised_note(deployment, memory, context, typical_context)
    else:
        capacity = _capacity_note(deployment, memory, context) if lengths is None else ()
    return CostModel(
        iteration=derive_iteration(deployment, curves),
        memory=memory,
        level="derived",
        source=f"roofline of {deployment.accelerator.name}; efficiency: {curves.source}",
        notes=(*_notes(deployment, curves), *capacity),
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

    size = max(settings.max_num_batched_tokens, settings.max_num_seqs)
    linear, linear_slope = _tabled(per_batch, size)
    head, head_slope = _tabled(per_sample, settings.max_num_seqs)
    host = curves.host
    base = host.step_us + (0.0 if settings.plans_ahead else host.blocking_us)
    # `A` and `W` count every pair twice.
    pair_unit = PS_PER_S * 2**ATTENTION_FRACTION_BITS / 2
    return IterationCost(
        base=round(base * 1e6),
        linear=linear,
        linear_slope=linear_slope,
        head=head,
        head_slope=head_slope,
        decode_seq=round(attention.decode_seq * PS_PER_S),
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


def _notes(deployment: Deployment, curves: Curves) -> tuple[str, ...]:
    parallelism, settings = deployment.parallelism, deployment.settings
    notes = list(_rank_notes(deployment))
    if curves.name == "default":
        notes.append(
            f"no kernel timings of {deployment.accelerator.name}: efficiency is the median "
            "of other devices"
        )
    _, arithmetic = compute_dtype(deployment.accelerator, settings.weight_dtype)
    if arithmetic:
        notes.append(arithmetic)
    if half_dtype(deployment.accelerator) == "fp16" and settings.weight_dtype != "fp32":
        notes.append(
            f"{deployment.accelerator.name} has no bf16: fp16 is assumed, which vLLM wants to be "
            "told (--dtype half) for a model published in bf16"
        )
    if parallelism.pp > 1:
        notes.append(
            "pipeline: one iteration in flight, so throughput is a lower bound and latency "
            "the sum of the stages"
        )
    if parallelism.devices > ONE_MACHINE:
        notes.append(
            f"the {parallelism.devices} devices of an engine are all taken to be connected by "
            f"{deployment.link.name}, also between machines"
        )
    if deployment.model.mixture:
        notes.append("experts: uniform routing, every device equally busy")
    return tuple(notes)


def _rank_notes(deployment: Deployment) -> tuple[str, ...]:
    """Say what dp ranks are taken for, and what their limits come to."""
    ranks, settings = deployment.parallelism.dp, deployment.settings
    if ranks == 1:
        return ()
    even = (
        f"data-parallel attention: the {ranks} ranks are simulated as one engine of "
        f"{settings.max_num_seqs:,} sequences and {settings.max_num_batched_tokens:,} tokens an "
        "iteration, each with an even share of both, so times are a lower bound; KV blocks are "
        "those of all ranks"
    )
    if deployment.model.mixture:
        return (even,)
    return (
        even,
        f"{deployment.model.name} has no experts, which ranks could share: vLLM runs them as "
        f"independent engines, as --replicas {ranks * deployment.replicas} with dp 1 does here",
    )


def _capacity_note(deployment: Deployment, memory: MemoryPlan, context: int) -> tuple[str, ...]:
    """Say where a sequence fits alone but not into blocks that are sized for shorter ones."""
    settings = deployment.settings
    tokens = memory.capacity_blocks * settings.block_size
    if not is_uneven(deployment) or tokens >= settings.max_model_len:
        return ()
    return (
        f"windows and recurrent states: KV blocks are those of sequences of {context:,} tokens; "
        f"a request of more than {tokens:,} is rejected, though up to "
        f"{settings.max_model_len:,} would fit alone",
    )


def _raised_note(
    deployment: Deployment, memory: MemoryPlan, context: int, typical: int
) -> tuple[str, ...]:
    """Say that blocks are counted for longer sequences than the workload's typical one."""
    fewer = plan_memory(deployment, typical).capacity_blocks
    return (
        f"windows and recurrent states: the {memory.capacity_blocks:,} KV blocks are those of "
        f"sequences of {context:,} tokens, so that the longest request fits; at the typical "
        f"{typical:,} tokens there would be {fewer:,}: a real engine runs fewer requests at once",
    )
