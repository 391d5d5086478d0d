"""The time a host takes to launch an iteration that is no CUDA graph.

Prompts are computed kernel by kernel: Python calls one operation after the other, and where
calling takes longer than computing, the device waits. A replayed graph is a single call.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from servetwin.cost.curves import US, Curves
from servetwin.cost.dtypes import compute_dtype
from servetwin.cost.graphs import graph_sizes
from servetwin.types import AttentionKind, Deployment

__all__ = ["launch_seconds", "operations", "with_launch_floor"]

Floats = NDArray[np.float64]
Seconds = Callable[[Floats], Floats]

EIGHT_BITS = ("fp8", "fp4", "int8")
"""Formats of arithmetic, with the narrower ones."""

IN_PYTHON = ("vllm", "sarathi")
"""Schedulers of engines that launch from Python; the others launch from C++ in no time."""

ATTENTION = {
    # Norm, projection, rotary embedding, cache write, attention, projection.
    AttentionKind.FULL: 6,
    AttentionKind.SLIDING: 6,
    # Two projections and a norm for queries, as many for keys, one back to heads, concatenation.
    AttentionKind.LATENT: 12,
    # And the indexer: two projections, norm, rotary, quantisation, write, logits, choice.
    AttentionKind.SPARSE_LATENT: 20,
    # Norm, projection, convolution, gates, six of the chunked scan, state, norm, projection.
    AttentionKind.LINEAR: 13,
}
"""Operations of one layer's mixer."""

QUANTISED = {
    AttentionKind.FULL: 2,
    AttentionKind.SLIDING: 2,
    AttentionKind.LATENT: 5,
    AttentionKind.SPARSE_LATENT: 5,
    AttentionKind.LINEAR: 2,
}
"""More of them where projections are computed in 8 bits or fewer: their inputs are quantised."""

MLP, QUANTISED_MLP = 4, 2
"""Norm, projection, activation, projection."""
EXPERTS = 9
"""Norm, router, choice, sorting, quantisation, two grouped GEMMs, activation, sum."""
SHARED, QUANTISED_SHARED = 3, 2
ALL_REDUCES = 2


def operations(deployment: Deployment) -> int:
    """Count the operations of one iteration that Python calls one by one, over all layers."""
    model, layout = deployment.model, deployment.parallelism
    count = sum(ATTENTION[kind] for kind in model.attention)
    if _quantises(deployment, "attention"):
        count += sum(QUANTISED[kind] for kind in model.attention)
    mixture = model.mixture
    mixtures = mixture.moe_layers if mixture else 0
    count += (model.layers - mixtures) * (MLP + QUANTISED_MLP * _quantises(deployment, "dense_mlp"))
    count += mixtures * EXPERTS
    if mixture and mixture.shared_size:
        count += mixtures * (SHARED + QUANTISED_SHARED * _quantises(deployment, "shared_experts"))
    return count + (ALL_REDUCES * model.layers if layout.tp * layout.dp > 1 else 0)


def _quantises(deployment: Deployment, part: str) -> bool:
    """Whether the inputs of a part's projections are quantised before each."""
    computed, _ = compute_dtype(deployment.accelerator, deployment.settings.weight_dtype)
    return computed in EIGHT_BITS and part not in deployment.model.wide_parts


def launch_seconds(deployment: Deployment, curves: Curves) -> float:
    """Seconds until the host has launched one iteration; 0 where it launches from C++."""
    if deployment.settings.scheduler not in IN_PYTHON:
        return 0.0
    return operations(deployment) * curves.host.operation_us * US


def with_launch_floor(
    seconds: Seconds, deployment: Deployment, curves: Curves, base: float
) -> Seconds:
    """`seconds` by tokens in the batch, but no less than launching takes without a graph.

    `base` is what every iteration takes besides. Attention over the past comes on top, though it
    runs while the host goes on: 10 % too much for a prompt of 8,192 tokens of DeepSeek-R1.
    """
    least = launch_seconds(deployment, curves) - base
    if least <= 0.0:
        return seconds
    sizes = graph_sizes(deployment)
    largest = deployment.parallelism.dp * int(sizes[-1]) if sizes.size else 0

    def floored(tokens: Floats) -> Floats:
        alone = seconds(tokens)
        return np.where(tokens > largest, np.maximum(alone, least), alone)

    return floored
