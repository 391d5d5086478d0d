"""LoRA adapters: what they take of memory, and what they add to an iteration.

Beside each projection of attention and dense MLP, a token with an adapter passes through two
thin matrices, of rank `max_lora_rank` whatever the adapter's own (vLLM pads it). From the
roofline alone, with every kernel at full bandwidth: no measurement of adapters is at hand.
"""

from __future__ import annotations

import math
from dataclasses import replace

from servetwin.cost.dtypes import peak_flops
from servetwin.cost.shapes import Gemm, attention_gemms, mlp_gemms
from servetwin.types import Deployment, IterationCost
from servetwin.units import PS_PER_S

__all__ = ["adapter_bytes", "with_adapters"]

KERNEL_SECONDS = 2e-6
"""Assumed for each shrink and each expand, however small: they run one after the other."""

ELEMENT_BYTES = 2.0
"""Adapters and activations are in 16 bits beside quantized weights, too."""


def adapter_bytes(deployment: Deployment) -> int:
    """Bytes of one adapter on one device, all layers."""
    rank = deployment.settings.max_lora_rank
    return math.ceil(ELEMENT_BYTES * sum(_elements(gemm, rank) for gemm in _adapted(deployment)))


def with_adapters(one: IterationCost, deployment: Deployment) -> IterationCost:
    """Cost of iterations whose requests may need adapters; `one` where none are served.

    An iteration with any takes the kernels of all projections; each different adapter is read
    once; each token takes the longer of its operations and of reading and writing its
    activations, which are read by shrink, and read and written by expand.
    """
    settings, device = deployment.settings, deployment.accelerator
    if settings.max_loras == 0:
        return one
    gemms = _adapted(deployment)
    kernels = sum(2 * gemm.layers for gemm in gemms)
    elements = sum(_elements(gemm, settings.max_lora_rank) for gemm in gemms)
    moved = ELEMENT_BYTES * sum((gemm.k + 2 * gemm.n) * gemm.layers for gemm in gemms)
    token = max(2.0 * elements / peak_flops(device, "bf16"), moved / device.bandwidth)
    return replace(
        one,
        lora_base=round(kernels * KERNEL_SECONDS * PS_PER_S),
        lora_adapter=round(adapter_bytes(deployment) / device.bandwidth * PS_PER_S),
        lora_token=round(token * PS_PER_S),
    )


def _adapted(deployment: Deployment) -> list[Gemm]:
    """The projections that adapters change: not those of routed experts, nor the head."""
    model, tp = deployment.model, deployment.parallelism.tp
    return attention_gemms(model, tp) + mlp_gemms(model, tp)


def _elements(gemm: Gemm, rank: int) -> float:
    """Of both thin matrices, all layers; matrices that are one for the engine count as one."""
    return rank * (gemm.n + gemm.k) * gemm.layers
