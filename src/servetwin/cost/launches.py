"""The time a host takes to launch an iteration that is no CUDA graph.

Prompts are computed kernel by kernel: Python calls one operation after the other, and where
calling takes longer than computing, the device waits. A replayed graph is a single call.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from servetwin.cost.curves import US, Curves
from servetwin.cost.dtypes import is_quantized
from servetwin.cost.graphs import capture_sizes
from servetwin.cost.ranks import rank_limits
from servetwin.types import AttentionKind, Deployment, Model

__all__ = ["launch_seconds", "launched", "operations"]

Floats = NDArray[np.float64]
Seconds = Callable[[Floats], Floats]

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
"""More of them with quantised weights: activations are quantised before each projection."""

MLP, QUANTISED_MLP = 4, 2
"""Norm, projection, activation, projection."""
EXPERTS = 9
"""Norm, router, choice, sorting, quantisation, two grouped GEMMs, activation, sum."""
SHARED, QUANTISED_SHARED = 3, 2
SUMS = 2
"""All-reduces of a layer."""


def operations(deployment: Deployment) -> int:
    """Count the operations of one iteration that Python calls one by one, over all layers."""
    model, quantized = deployment.model, is_quantized(deployment.settings.weight_dtype)
    count = sum(ATTENTION[kind] for kind in model.attention)
    if quantized:
        count += sum(QUANTISED[kind] for kind in model.attention)
    count += _mlp_operations(model, quantized)
    layout = deployment.parallelism
    return count + (SUMS * model.layers if layout.tp * layout.dp > 1 else 0)


def _mlp_operations(model: Model, quantized: bool) -> int:
    mixture = model.mixture
    mixtures = mixture.moe_layers if mixture else 0
    dense = (model.layers - mixtures) * (MLP + QUANTISED_MLP * quantized)
    shared = SHARED + QUANTISED_SHARED * quantized if mixture and mixture.shared_size else 0
    return dense + mixtures * (EXPERTS + shared)


def launch_seconds(deployment: Deployment, curves: Curves) -> float:
    """Seconds until the host has launched one iteration; 0 where it launches from C++."""
    if deployment.settings.scheduler not in IN_PYTHON:
        return 0.0
    return operations(deployment) * curves.host.operation_us * US


def launched(seconds: Seconds, deployment: Deployment, curves: Curves, base: float) -> Seconds:
    """`seconds` by tokens in the batch, but no less than launching takes without a graph.

    `base` is what every iteration takes besides.
    """
    least = launch_seconds(deployment, curves) - base
    if least <= 0.0:
        return seconds
    limit = deployment.settings.max_cudagraph_capture_size
    sizes = capture_sizes(rank_limits(deployment).max_num_seqs, limit)
    largest = deployment.parallelism.dp * int(sizes[-1]) if sizes.size else 0

    def floored(tokens: Floats) -> Floats:
        alone = seconds(tokens)
        return np.where(tokens > largest, np.maximum(alone, least), alone)

    return floored
