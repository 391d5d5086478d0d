"""Attention: seconds for each token of context and each query-key pair, all layers."""

from __future__ import annotations

from dataclasses import dataclass

from servetwin.cost.curves import Curves, Roof
from servetwin.cost.dtypes import cache_bytes
from servetwin.cost.shapes import latent_of, local_kv_heads
from servetwin.types import AttentionKind, Deployment, Model

__all__ = ["AttentionCost", "attention_cost"]


@dataclass(frozen=True)
class AttentionCost:
    """Seconds on one device. A pair is one query token with one key token."""

    launch: float
    """Once an iteration."""
    decode_seq: float
    decode_ctx: float
    """For each token of context that layers without a window read."""
    decode_window_ctx: float
    """For each token of context within the window."""
    prefill_token: float
    """For each token of the batch, whatever it sees: the table cannot tell prompts apart."""
    prefill_chunk: float
    prefill_pair: float
    prefill_window_pair: float
    window: int


@dataclass(frozen=True)
class _Kind:
    """One attention kind on one device: bytes read and operations, for one layer."""

    layers: int
    token_bytes: float
    decode_flops: float
    """Operations of one new token with one cached token."""
    pair_flops: float
    windowed: bool


def attention_cost(deployment: Deployment, curves: Curves, roof: Roof) -> AttentionCost:
    """Attention of a deployment; `roof` is the device at 16 bits.

    Decode is bound by the cache it reads, except where many query heads share one cached
    vector (latent attention) and arithmetic takes longer. Data-parallel ranks work side by
    side, each on its share of the sequences.
    """
    model, parallelism = deployment.model, deployment.parallelism
    kinds = _kinds(model, deployment.settings.kv_cache_dtype, parallelism.tp)
    read = 1.0 / (roof.bandwidth * curves.decode.memory)
    work = 1.0 / (roof.flops * curves.prefill.compute)

    def decode(windowed: bool) -> float:
        return sum(
            kind.layers * max(kind.token_bytes * read, kind.decode_flops * work)
            for kind in kinds
            if kind.windowed == windowed
        )

    def pair(windowed: bool) -> float:
        chosen = (kind for kind in kinds if kind.windowed == windowed)
        return sum(kind.layers * kind.pair_flops for kind in chosen) * work

    setup = curves.decode.extra_tokens * sum(k.layers * k.token_bytes for k in kinds) * read
    state = 2.0 * 2.0 * model.layers_of(AttentionKind.LINEAR) * model.linear_state / parallelism.tp
    # A recurrent state takes in a token with an outer product and gives one with a product.
    linear_flops = 2.0 * state
    extra = curves.prefill.extra_keys * (pair(False) + pair(True))
    ranks = parallelism.dp
    return AttentionCost(
        launch=model.layers * curves.decode.launch_us * 1e-6,
        decode_seq=(setup + state * read) / ranks,
        decode_ctx=decode(False) / ranks,
        decode_window_ctx=decode(True) / ranks,
        prefill_token=(extra + linear_flops * work) / ranks,
        prefill_chunk=(setup + state * read) / ranks,
        prefill_pair=pair(False) / ranks,
        prefill_window_pair=pair(True) / ranks,
        window=_window(model),
    )


def _window(model: Model) -> int:
    if model.layers_of(AttentionKind.SLIDING):
        return model.sliding_window
    return model.sparse_top_k if model.layers_of(AttentionKind.SPARSE_LATENT) else 0


def _kinds(model: Model, dtype: str, tp: int) -> list[_Kind]:
    size = cache_bytes(dtype)
    kinds: list[_Kind] = []
    for kind in (AttentionKind.FULL, AttentionKind.SLIDING):
        layers = model.layers_of(kind)
        if layers:
            token = 2.0 * local_kv_heads(model, tp) * model.head_dim * size
            flops = 4.0 * model.heads / tp * model.head_dim
            kinds.append(_Kind(layers, token, flops, flops, kind is AttentionKind.SLIDING))
    for kind in (AttentionKind.LATENT, AttentionKind.SPARSE_LATENT):
        layers = model.layers_of(kind)
        if layers:
            kinds += _latent_kinds(model, size, tp, layers, kind is AttentionKind.SPARSE_LATENT)
    return kinds


def _latent_kinds(model: Model, size: float, tp: int, layers: int, sparse: bool) -> list[_Kind]:
    """Absorbed decode reads the latent vector alone; prefill attends with expanded heads.

    Sparse layers add an indexer that scores every cached token, and attend to the best.
    """
    latent, heads = latent_of(model), model.heads / tp
    vector = latent.kv_lora_rank + latent.rope_head_dim
    decode = 2.0 * heads * (vector + latent.kv_lora_rank)
    expanded = latent.nope_head_dim + latent.rope_head_dim + latent.value_head_dim
    windowed = sparse and model.sparse_top_k > 0
    kinds = [_Kind(layers, vector * size, decode, 2.0 * heads * expanded, windowed)]
    if windowed and latent.index_heads:
        scores = 2.0 * latent.index_heads * latent.index_head_dim
        kinds.append(_Kind(layers, latent.index_head_dim + 4.0, scores, scores, False))
    return kinds
