"""Mixtures of experts with grouped-query attention."""

from __future__ import annotations

from dataclasses import replace

from servetwin.catalog.config import Config
from servetwin.catalog.families.dense import mistral, qwen2, qwen3
from servetwin.catalog.families.shared import alternating, decoder, layer_count
from servetwin.types import AttentionKind, Mixture, Model

__all__ = [
    "glm4_moe",
    "gpt_oss",
    "granite_moe",
    "llama4",
    "minimax_m2",
    "mixtral",
    "phimoe",
    "qwen2_moe",
    "qwen3_moe",
    "qwen_mixture",
]

EXPERT_COUNT = ("num_local_experts", "num_experts", "n_routed_experts")


def mixtral(config: Config) -> Model:
    """Build a Mixtral: every layer a mixture, `intermediate_size` is that of an expert."""
    return _with_mixture(mistral(config), config, expert_size=config.whole("intermediate_size"))


granite_moe = mixtral


def phimoe(config: Config) -> Model:
    """Build a Phi MoE: layer norms with bias; bias on attention and head where it says so."""
    biased = config.flag("attention_bias")
    model = decoder(config, attention_bias=biased)
    norms = (2 * model.layers + 1) * model.hidden_size
    output = model.layers * model.hidden_size if biased else 0
    head = model.vocab_size if config.flag("lm_head_bias") else 0
    model = replace(model, extra_parameters=norms + output + head)
    return _with_mixture(model, config, expert_size=config.whole("intermediate_size"))


def qwen2_moe(config: Config) -> Model:
    """Build a Qwen 1.5 or 2 mixture with a gated shared expert."""
    return qwen_mixture(qwen2(_dense_size(config)), config)


def qwen3_moe(config: Config) -> Model:
    """Build a Qwen 3 mixture, without shared expert."""
    return qwen_mixture(qwen3(_dense_size(config)), config)


def _dense_size(config: Config) -> Config:
    """Give a config without dense layers a dense size, which nothing then uses."""
    return config.over({"intermediate_size": config.whole("moe_intermediate_size")})


def qwen_mixture(model: Model, config: Config) -> Model:
    """Add the experts of a Qwen mixture, and the gate of its shared expert."""
    step = config.whole("decoder_sparse_step", default=1)
    dense = set(map(str, config.items("mlp_only_layers") or []))
    mixed = sum((i + 1) % step == 0 and str(i) not in dense for i in range(model.layers))
    shared = config.whole("shared_expert_intermediate_size", default=0, low=0)
    if shared:
        extra = model.extra_parameters + mixed * model.hidden_size
        model = replace(model, extra_parameters=extra)
    size = config.whole("moe_intermediate_size")
    return _with_mixture(model, config, expert_size=size, shared_size=shared, moe_layers=mixed)


def glm4_moe(config: Config) -> Model:
    """Build a GLM 4.5 to 4.7: first layers dense, then experts with a shared one."""
    model = decoder(config, attention_bias=config.flag("attention_bias"))
    dense = min(config.whole("first_k_dense_replace", default=0, low=0), model.layers)
    size = config.whole("moe_intermediate_size")
    mixed = model.layers - dense
    extra = mixed * config.whole(*EXPERT_COUNT)  # correction bias of the router
    if config.flag("use_qk_norm"):
        extra += 2 * model.head_dim * model.layers
    model = replace(model, extra_parameters=extra)
    shared = size * config.whole("n_shared_experts", default=0, low=0, high=1024)
    return _with_mixture(model, config, expert_size=size, shared_size=shared, moe_layers=mixed)


def minimax_m2(config: Config) -> Model:
    """Build a MiniMax M2: norms as wide as all query and all key heads."""
    model = decoder(config)
    norms = (model.heads + model.kv_heads) * model.head_dim
    routers = config.whole(*EXPERT_COUNT)
    model = replace(model, extra_parameters=(norms + routers) * model.layers)
    return _with_mixture(model, config, expert_size=config.whole("intermediate_size"))


def gpt_oss(config: Config) -> Model:
    """Build a gpt-oss: every second layer slides; biases everywhere, a sink for each head."""
    if config.get("layer_types") is not None:
        model = decoder(config, attention_bias=True)
    else:
        kinds = alternating(layer_count(config), 2)
        window = config.whole("sliding_window")
        model = decoder(config, attention_bias=True, attention=kinds, sliding_window=window)
    experts, size = config.whole(*EXPERT_COUNT), config.whole("intermediate_size")
    expert_bias = experts * (2 * size + model.hidden_size + 1)
    layer = expert_bias + model.hidden_size + model.heads
    model = replace(model, extra_parameters=layer * model.layers)
    return _with_mixture(model, config, expert_size=size)


def llama4(config: Config) -> Model:
    """Build a Llama 4: chunked attention except where positions are left out.

    Every `interleave_moe_layer_step`-th layer is a mixture with a shared expert of the
    size of a routed one; the others have an MLP of `intermediate_size_mlp`.
    """
    size = config.whole("intermediate_size")
    layers = layer_count(config)
    dense = config.whole("intermediate_size_mlp", default=size)
    kinds = _llama4_attention(config, layers)
    chunk = config.whole("attention_chunk_size") if AttentionKind.SLIDING in kinds else 0
    model = decoder(config, intermediate_size=dense, attention=kinds, sliding_window=chunk)
    listed = config.items("moe_layers")
    step = config.whole("interleave_moe_layer_step", default=1)
    mixed = layers // step if listed is None else len(listed)
    return _with_mixture(model, config, expert_size=size, shared_size=size, moe_layers=mixed)


def _llama4_attention(config: Config, layers: int) -> tuple[AttentionKind, ...]:
    if config.get("attention_chunk_size") is None:
        return (AttentionKind.FULL,) * layers
    rotary = config.items("no_rope_layers")
    if not rotary:
        return alternating(layers, config.whole("no_rope_layer_interval", default=4))
    if len(rotary) != layers:
        raise config.error(f"'no_rope_layers' names {len(rotary)} layers of {layers}")
    return tuple(AttentionKind.SLIDING if one else AttentionKind.FULL for one in rotary)


def _with_mixture(
    model: Model,
    config: Config,
    *,
    expert_size: int,
    shared_size: int = 0,
    moe_layers: int | None = None,
) -> Model:
    """Add experts to a dense model; all layers unless `moe_layers` says otherwise."""
    experts = config.whole(*EXPERT_COUNT)
    chosen = config.whole("num_experts_per_tok")
    if chosen > experts:
        raise config.error(f"'num_experts_per_tok' is {chosen}, of {experts} experts")
    mixed = model.layers if moe_layers is None else moe_layers
    if mixed == 0:
        return model
    return replace(model, mixture=Mixture(experts, chosen, expert_size, shared_size, mixed))
