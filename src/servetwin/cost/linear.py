"""Everything in an iteration that depends only on how many tokens it processes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from servetwin.cost.collectives import all_reduce_seconds, send_seconds
from servetwin.cost.curves import Curves, GemmCurve, Roof
from servetwin.cost.dtypes import compute_dtype, is_quantized, weight_bytes
from servetwin.cost.shapes import (
    Experts,
    Gemm,
    attention_gemms,
    expert_share,
    head_gemm,
    local_kv_heads,
    mlp_gemms,
    router_gemm,
)
from servetwin.types import Deployment

__all__ = ["Arithmetic", "arithmetic", "expert_seconds", "head_parts", "token_parts"]

Floats = NDArray[np.float64]
US = 1e-6
ACTIVATION_BYTES = 2.0


@dataclass(frozen=True)
class Arithmetic:
    """How one kind of weights is stored and multiplied."""

    curve: GemmCurve
    roof: Roof
    element: float
    """Bytes of one weight."""

    def seconds(self, gemm: Gemm, rows: Floats) -> Floats:
        """Seconds of the GEMM in all its layers."""
        return gemm.layers * self.curve.matmul(self.roof, rows, gemm.n, gemm.k, self.element)


def arithmetic(deployment: Deployment, curves: Curves, quantized: bool) -> Arithmetic:
    """Arithmetic of the quantised layers, or of those that stay at 16 bits."""
    dtype = deployment.settings.weight_dtype
    if not quantized and is_quantized(dtype):
        dtype = "bf16"
    accelerator = deployment.accelerator
    computed, _ = compute_dtype(accelerator, dtype)
    roof = Roof(accelerator.flops[computed], accelerator.bandwidth)
    return Arithmetic(curves.gemm_for(computed), roof, weight_bytes(dtype))


def token_parts(deployment: Deployment, curves: Curves, tokens: Floats) -> dict[str, Floats]:
    """Seconds of each part for each of `tokens` (at least 1) tokens in the batch.

    Data-parallel ranks divide the tokens evenly, except within the routed experts, which
    all ranks share.
    """
    parallelism = deployment.parallelism
    own = np.ceil(tokens / parallelism.dp)
    parts = {
        "gemm": _gemm_seconds(deployment, curves, own),
        "elementwise": _elementwise_seconds(deployment, curves, own),
        "collectives": _collective_seconds(deployment, curves, tokens, own),
    }
    experts = expert_share(deployment.model, parallelism)
    if experts:
        compute = arithmetic(deployment, curves, quantized=True)
        hidden = deployment.model.hidden_size
        parts["experts"] = expert_seconds(experts, hidden, compute, curves, tokens)
    return parts


def _gemm_seconds(deployment: Deployment, curves: Curves, rows: Floats) -> Floats:
    model, tp = deployment.model, deployment.parallelism.tp
    gemms = attention_gemms(model, tp) + mlp_gemms(model, tp)
    router = router_gemm(model)
    if router:
        gemms.append(router)
    return _summed(gemms, deployment, curves, rows)


def _summed(gemms: Iterable[Gemm], deployment: Deployment, curves: Curves, rows: Floats) -> Floats:
    total = np.zeros_like(rows)
    for gemm in gemms:
        total += arithmetic(deployment, curves, gemm.quantized).seconds(gemm, rows)
    return total


def expert_seconds(
    experts: Experts, hidden: int, compute: Arithmetic, curves: Curves, tokens: Floats
) -> Floats:
    """Seconds of the routed experts of all layers on one device.

    Under uniform routing `T` tokens reach `E (1 - (1 - k/E)^T)` distinct experts, whose
    weights are read. Real routers are less even and reach fewer.
    """
    missed = (1.0 - experts.per_token / experts.total) ** tokens
    active = experts.count * (1.0 - missed)
    pairs = tokens * experts.per_token * experts.count / experts.total
    rows = pairs + (curves.mixture.padding_rows + compute.curve.half_rows) * active
    launch = (curves.mixture.launch_us - 2 * compute.curve.launch_us) * US
    total = np.full_like(tokens, launch)
    for n, k in ((2 * experts.inner, hidden), (hidden, experts.inner)):
        moved = compute.element * active * n * k + ACTIVATION_BYTES * pairs * (n + k)
        total += compute.curve.seconds(compute.roof, 2.0 * rows * n * k, moved)
    return experts.layers * total


def _elementwise_seconds(deployment: Deployment, curves: Curves, tokens: Floats) -> Floats:
    """Two norms, rotary embedding, activation and cache write a layer, and the embedding."""
    model, tp = deployment.model, deployment.parallelism.tp
    queries = model.heads * model.head_dim / tp
    keys = 2.0 * local_kv_heads(model, tp) * model.head_dim
    inner = model.intermediate_size / tp
    if model.mixture and model.mixture.moe_layers == model.layers:
        inner = model.mixture.expert_size * model.mixture.experts_per_token / tp
    norms = model.layer_norms * 4.0 * model.hidden_size
    layer = norms + 2.0 * (queries + keys) + 3.0 * inner + 2.0 * keys
    moved = ACTIVATION_BYTES * (model.layers * layer + 2.0 * model.hidden_size)
    kernels = model.layers * (model.layer_norms + 3) + 2
    bandwidth = deployment.accelerator.bandwidth * curves.elementwise.memory
    return np.asarray(kernels * curves.elementwise.launch_us * US + moved * tokens / bandwidth)


def _collective_seconds(
    deployment: Deployment, curves: Curves, tokens: Floats, own: Floats
) -> Floats:
    """Sums after attention and after the MLP of each layer, and hand-over between stages."""
    model, parallelism, link = deployment.model, deployment.parallelism, deployment.link
    vector = ACTIVATION_BYTES * model.hidden_size
    moe_layers = model.mixture.moe_layers if model.mixture else 0
    narrow = all_reduce_seconds(curves.collective, link, parallelism.tp, own * vector)
    group = parallelism.tp * parallelism.dp
    wide = all_reduce_seconds(curves.collective, link, group, tokens * vector)
    total = (2 * model.layers - moe_layers) * narrow + moe_layers * wide
    if parallelism.pp > 1:
        # Hidden state and residual, as vLLM sends them.
        hop = send_seconds(curves.collective, link, 2.0 * own * vector)
        total = total + (parallelism.pp - 1) * hop
    return total


def head_parts(deployment: Deployment, curves: Curves, sampled: Floats) -> dict[str, Floats]:
    """Seconds of output head, gathering of logits and sampling, for `sampled` sequences."""
    model, parallelism, link = deployment.model, deployment.parallelism, deployment.link
    own = np.ceil(sampled / parallelism.dp)
    logits = own * model.vocab_size
    bandwidth = deployment.accelerator.bandwidth * curves.elementwise.memory
    sampling = curves.sampler.launch_us * US + logits * curves.sampler.bytes_per_logit / bandwidth
    parts = {
        "head": _summed([head_gemm(model, parallelism.tp)], deployment, curves, own),
        "sampler": np.asarray(sampling),
    }
    if parallelism.tp > 1:
        # Half of a sum of all logits: they are gathered, not added up.
        size = ACTIVATION_BYTES * logits / 2
        parts["gather"] = all_reduce_seconds(curves.collective, link, parallelism.tp, size)
    return parts
