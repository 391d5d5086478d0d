"""Memory of one device: weights, the engine's own needs, and the KV cache that is left."""

from __future__ import annotations

import math
from dataclasses import dataclass

from servetwin.catalog.parameters import count_parameters
from servetwin.cost.dtypes import cache_bytes, is_quantized, weight_bytes
from servetwin.cost.lora import adapter_bytes
from servetwin.cost.ranks import rank_limits
from servetwin.cost.shapes import (
    Gemm,
    attention_gemms,
    expert_share,
    latent_of,
    local_kv_heads,
    mlp_gemms,
    router_gemm,
)
from servetwin.cost.stages import stage_share
from servetwin.types import AttentionKind, Deployment, MemoryPlan, Model

__all__ = ["kv_bytes", "plan_memory", "runtime_bytes", "weights_on_device"]

FIXED_RUNTIME_BYTES = 905_000_000
"""CUDA context, CUDA graphs and allocator waste. Chosen so that vLLM 0.19 with Llama-3.1-8B
on an RTX 4090 gets the 2,588 blocks that were recorded; one machine, one model."""

LOGIT_BYTES = 10
"""The sampler's dry run holds each logit in bf16 and twice in fp32."""

UNQUANTIZED_BYTES = 2.0


@dataclass(frozen=True)
class LayerCache:
    """What one layer of a kind keeps, on one device."""

    layers: int
    token_bytes: float
    """For each cached token."""
    window: int = 0
    """Most tokens it keeps; 0 for all."""
    sequence_bytes: float = 0.0
    """For each sequence, however long."""

    def bytes_for(self, tokens: int) -> float:
        """Bytes of all these layers for one sequence of `tokens`."""
        kept = min(tokens, self.window) if self.window else tokens
        return self.layers * (kept * self.token_bytes + self.sequence_bytes)


def layer_caches(model: Model, dtype: str, tp: int) -> list[LayerCache]:
    """Cache of every attention kind that occurs in the model, on one of `tp` devices.

    Latent vectors have no heads to divide, so every device keeps them whole. Linear layers
    keep their state in 16 bits whatever the cache's format (vLLM's default).
    """
    size = cache_bytes(dtype)
    heads = 2 * local_kv_heads(model, tp) * model.head_dim * size
    caches = [
        LayerCache(model.layers_of(AttentionKind.FULL), heads),
        LayerCache(model.layers_of(AttentionKind.SLIDING), heads, window=model.sliding_window),
        LayerCache(
            model.layers_of(AttentionKind.LINEAR), 0.0, sequence_bytes=2.0 * model.linear_state / tp
        ),
    ]
    if model.latent is not None:
        latent = latent_of(model)
        token = (latent.kv_lora_rank + latent.rope_head_dim) * size
        caches.append(LayerCache(model.layers_of(AttentionKind.LATENT), token))
        # The indexer keeps its keys in fp8 with one fp32 scale each (DeepSeek-V3.2).
        index = latent.index_head_dim + 4 if latent.index_heads else 0
        caches.append(LayerCache(model.layers_of(AttentionKind.SPARSE_LATENT), token + index))
    return [cache for cache in caches if cache.layers]


def kv_bytes(model: Model, tokens: int, dtype: str = "bf16", tp: int = 1) -> int:
    """Bytes that one sequence of `tokens` takes on one of `tp` devices, all layers."""
    return math.ceil(sum(cache.bytes_for(tokens) for cache in layer_caches(model, dtype, tp)))


def weights_on_device(deployment: Deployment) -> int:
    """Bytes of weights on the fullest device, scales included.

    Embedding, output head, norms, biases and routers stay in 16 bits beside quantised
    layers. Of several pipeline stages the first holds the embedding and the last the head;
    the fullest is taken to hold the larger of the two.
    """
    model, parallelism = deployment.model, deployment.parallelism
    dtype = deployment.settings.weight_dtype
    narrow = weight_bytes(dtype)
    wide = UNQUANTIZED_BYTES if is_quantized(dtype) else narrow
    counted = count_parameters(model)
    gemms: list[Gemm] = attention_gemms(model, parallelism.tp) + mlp_gemms(model, parallelism.tp)
    in_layers = sum(gemm.elements * (narrow if gemm.quantized else wide) for gemm in gemms)
    experts = expert_share(model, parallelism)
    if experts:
        expert = 3 * model.hidden_size * experts.inner
        in_layers += experts.count * experts.layers * expert * narrow
    router = router_gemm(model)
    in_layers += (counted.norms + counted.other + (router.elements if router else 0)) * wide
    tables = (counted.embedding, counted.head)
    ends = sum(tables) if parallelism.pp == 1 else max(tables)
    return math.ceil(in_layers * stage_share(deployment) + ends / parallelism.tp * wide)


def runtime_bytes(deployment: Deployment) -> int:
    """Bytes one device needs beside weights and cache.

    A fixed part, LoRA adapters, and the larger of two peaks of vLLM's dry run, which are not at
    the same time: the MLP of a full batch of tokens, and the logits of a full batch of
    sequences. A data-parallel rank has batches of its own.
    """
    model, limits, tp = deployment.model, rank_limits(deployment), deployment.parallelism.tp
    inner = model.intermediate_size / tp
    if model.mixture:
        mixture = model.mixture
        routed = mixture.experts_per_token * (mixture.expert_size + model.hidden_size)
        inner = max(inner, (mixture.shared_size + routed) / tp)
    widths = (3 if model.gated_mlp else 2) * inner + 8 * model.hidden_size
    activations = 2 * widths * limits.max_num_batched_tokens
    logits = LOGIT_BYTES * model.vocab_size * limits.max_num_seqs
    peak = math.ceil(max(activations, logits))
    return FIXED_RUNTIME_BYTES + peak + adapters_on_device(deployment)


def adapters_on_device(deployment: Deployment) -> int:
    """Bytes that one device sets aside for LoRA adapters, as vLLM does when it starts."""
    loras = deployment.settings.max_loras
    if loras == 0:
        return 0
    return loras * math.ceil(adapter_bytes(deployment) * stage_share(deployment))


def plan_memory(deployment: Deployment, typical_context: int) -> MemoryPlan:
    """Divide one device's memory as vLLM does, and count the blocks of one engine.

    The blocks of all `dp` ranks are counted together. Sliding windows and linear states
    make the bytes of a token depend on the length of its sequence: `typical_context` is
    the length at which they are taken.
    """
    model, settings = deployment.model, deployment.settings
    length = max(1, typical_context)
    share = stage_share(deployment)
    whole = kv_bytes(model, length, settings.kv_cache_dtype, deployment.parallelism.tp)
    per_token = whole * share / length
    weights, runtime = weights_on_device(deployment), runtime_bytes(deployment)
    budget = int(deployment.accelerator.memory * settings.gpu_memory_utilization)
    free = max(0, budget - weights - runtime)
    block = settings.block_size * per_token
    ordered = rank_limits(deployment).num_gpu_blocks_override
    if ordered is not None:
        blocks = ordered
        free = int(blocks * block)
    else:
        blocks = int(free // block) if block else 0
    # Each rank sets one block aside as the null block.
    usable = max(0, blocks - 1) * deployment.parallelism.dp
    return MemoryPlan(weights, runtime, per_token, free, usable)
