"""What the reader of a result should know about the costs and the memory behind it."""

from __future__ import annotations

from servetwin.cost.capacity import is_uneven
from servetwin.cost.curves import Curves
from servetwin.cost.dtypes import compute_dtype, half_dtype
from servetwin.cost.memory import plan_memory
from servetwin.types import Deployment, MemoryPlan

__all__ = ["deployment_notes", "low_capacity", "raised_capacity", "slot_note"]

ONE_MACHINE = 8
"""Devices that share a machine's own links, but for systems of a whole rack."""

NO_LINK = "none"
"""Catalog name of the link that takes no time."""


def deployment_notes(deployment: Deployment, curves: Curves) -> tuple[str, ...]:
    """What is assumed about this deployment that a real one need not share."""
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
    if parallelism.pp > 1 and parallelism.pipeline is None:
        notes.append(
            "pipeline: one iteration in flight, so throughput is a lower bound and latency "
            "the sum of the stages"
        )
    if parallelism.pipeline is not None:
        notes.append(
            "pipeline: each microbatch has its share of sequences and KV memory; a stage's share "
            "of an iteration is that of its layers"
        )
    if settings.max_loras:
        notes.append(
            "LoRA: what adapters add to an iteration comes from the roofline and an assumed 2 µs "
            "for each of their kernels; no measurement is at hand"
        )
    if settings.speculative_tokens:
        notes.append(
            f"speculation: of {settings.speculative_tokens} drafted tokens and the one behind "
            f"them {settings.acceptance_length:g} come on average, their gaps evened out and TTFT "
            "of who arrives meanwhile a little short; no measurement of it is at hand"
        )
    if parallelism.devices > 1 and deployment.link.name == NO_LINK:
        notes.append(
            f"link none: transfers between the {parallelism.devices} devices of an engine take "
            "no time; --link names a real one"
        )
    elif parallelism.devices > ONE_MACHINE:
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


def low_capacity(deployment: Deployment, memory: MemoryPlan, context: int) -> tuple[str, ...]:
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


def raised_capacity(
    deployment: Deployment, memory: MemoryPlan, context: int, typical: int
) -> tuple[str, ...]:
    """Say that blocks are counted for longer sequences than the workload's typical one."""
    fewer = plan_memory(deployment, typical).capacity_blocks
    return (
        f"windows and recurrent states: the {memory.capacity_blocks:,} KV blocks are those of "
        f"sequences of {context:,} tokens, so that the longest request fits; at the typical "
        f"{typical:,} tokens there would be {fewer:,}: a real engine runs fewer requests at once",
    )


def slot_note(deployment: Deployment, memory: MemoryPlan) -> tuple[str, ...]:
    """Say what a slot holds, where llama.cpp's division leaves it less than max_model_len."""
    settings = deployment.settings
    tokens = memory.capacity_blocks // settings.max_num_seqs * settings.block_size
    if settings.scheduler != "slots" or tokens >= settings.max_model_len:
        return ()
    return (
        f"each of the {settings.max_num_seqs:,} slots holds {tokens:,} tokens: longer requests "
        "are rejected",
    )
