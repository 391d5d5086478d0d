"""Multi-head latent attention: DeepSeek V2 and V3, Kimi K2, GLM 5."""

from __future__ import annotations

from dataclasses import replace

from servetwin.catalog.config import Config
from servetwin.catalog.families.shared import decoder, layer_count
from servetwin.types import AttentionKind, LatentAttention, Mixture, Model

__all__ = ["deepseek_v2", "deepseek_v3", "deepseek_v32", "glm_moe_dsa"]

GLM_INDEXER = {"index_topk": 2048, "index_n_heads": 32, "index_head_dim": 128}
"""Values that trimmed copies leave out (transformers, GlmMoeDsaConfig)."""


def deepseek_v2(config: Config) -> Model:
    """Build a DeepSeek V2."""
    return _latent_model(config, AttentionKind.LATENT)


def deepseek_v3(config: Config) -> Model:
    """Build a DeepSeek V3, V3.1 or R1, or a Kimi K2; the router has a correction bias."""
    return _with_router_bias(_latent_model(config, AttentionKind.LATENT))


def deepseek_v32(config: Config) -> Model:
    """Build a DeepSeek V3.2, which reads the tokens that an indexer picks."""
    return _with_router_bias(_latent_model(config, AttentionKind.SPARSE_LATENT))


def glm_moe_dsa(config: Config) -> Model:
    """Build a GLM 5: latent attention with the indexer of DeepSeek V3.2."""
    return deepseek_v32(config.over(GLM_INDEXER))


def _with_router_bias(model: Model) -> Model:
    if model.mixture is None:
        return model
    return replace(model, extra_parameters=model.mixture.experts * model.mixture.moe_layers)


def _latent_model(config: Config, kind: AttentionKind) -> Model:
    rope = config.whole("qk_rope_head_dim")
    nope = config.whole("qk_nope_head_dim")
    sparse = kind is AttentionKind.SPARSE_LATENT
    latent = LatentAttention(
        kv_lora_rank=config.whole("kv_lora_rank"),
        rope_head_dim=rope,
        nope_head_dim=nope,
        value_head_dim=config.whole("v_head_dim"),
        q_lora_rank=config.whole("q_lora_rank", default=0) or None,
        index_heads=config.whole("index_n_heads") if sparse else 0,
        index_head_dim=config.whole("index_head_dim") if sparse else 0,
    )
    heads = config.whole("num_attention_heads")
    return decoder(
        config,
        kv_heads=heads,
        head_dim=nope + rope,
        attention=(kind,) * layer_count(config),
        latent=latent,
        sparse_top_k=config.whole("index_topk") if sparse else 0,
        mixture=_experts(config),
    )


def _experts(config: Config) -> Mixture | None:
    if config.get("n_routed_experts") is None:
        return None
    layers = layer_count(config)
    first = min(config.whole("first_k_dense_replace", default=0, low=0), layers)
    every = config.whole("moe_layer_freq", default=1)
    mixed = sum(i % every == 0 for i in range(first, layers))
    experts, chosen = config.whole("n_routed_experts"), config.whole("num_experts_per_tok")
    if chosen > experts:
        raise config.error(f"'num_experts_per_tok' is {chosen}, of {experts} experts")
    size = config.whole("moe_intermediate_size")
    shared = size * config.whole("n_shared_experts", default=0, low=0, high=1024)
    return Mixture(experts, chosen, size, shared, mixed) if mixed else None
