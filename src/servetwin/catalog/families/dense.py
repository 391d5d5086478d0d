"""Rotary decoders with one dense MLP a layer: Llama, Mistral, Qwen, Gemma, Phi-3, Granite."""

from __future__ import annotations

from dataclasses import replace

from servetwin.catalog.config import Config
from servetwin.catalog.families.shared import alternating, decoder, layer_count
from servetwin.types import AttentionKind, Model

__all__ = ["deci", "gemma2", "gemma3", "llama", "mistral", "phi3", "qwen2", "qwen3"]

GEMMA3_DEFAULTS = {
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "vocab_size": 262_208,
    "max_position_embeddings": 131_072,
    "sliding_window": 4096,
    "tie_word_embeddings": True,
}
"""Values that published Gemma 3 files leave out (transformers, Gemma3TextConfig)."""


def llama(config: Config) -> Model:
    """Build a Llama; `attention_bias` and `mlp_bias` cover the output projections too."""
    biased = config.flag("attention_bias")
    model = decoder(config, attention_bias=biased)
    bias = model.hidden_size if biased else 0
    if config.flag("mlp_bias"):
        bias += 2 * model.intermediate_size + model.hidden_size
    return replace(model, extra_parameters=bias * model.layers)


def mistral(config: Config) -> Model:
    """Build a Mistral or Phi-3: no bias anywhere, maybe a window in every layer."""
    return decoder(config)


phi3 = mistral


def deci(config: Config) -> Model:
    """Build a DeciLM, whose layers differ in key-value heads, the way vLLM serves it.

    vLLM widens every layer to the most heads that any layer has.
    """
    heads = config.items("num_key_value_heads_per_layer") or []
    layers = [Config({"num_key_value_heads": n}, config.where) for n in heads]
    if not layers:
        return decoder(config)
    return decoder(config, kv_heads=max(layer.whole("num_key_value_heads") for layer in layers))


def qwen2(config: Config) -> Model:
    """Build a Qwen 1.5, 2 or 2.5: bias on queries, keys and values only."""
    kinds, window = qwen_attention(config)
    return decoder(config, attention_bias=True, attention=kinds, sliding_window=window)


def qwen3(config: Config) -> Model:
    """Build a Qwen 3: a norm over each query and each key head."""
    kinds, window = qwen_attention(config)
    biased = config.flag("attention_bias")
    model = decoder(config, attention_bias=biased, attention=kinds, sliding_window=window)
    extra = 2 * model.head_dim + (model.hidden_size if biased else 0)
    return replace(model, extra_parameters=extra * model.layers)


def qwen_attention(config: Config) -> tuple[tuple[AttentionKind, ...], int]:
    """Read the layer kinds of a Qwen: the window counts only behind `use_sliding_window`."""
    layers = layer_count(config)
    if not config.flag("use_sliding_window"):
        return (AttentionKind.FULL,) * layers, 0
    first = min(config.whole("max_window_layers", default=layers, low=0), layers)
    kinds = (AttentionKind.FULL,) * first + (AttentionKind.SLIDING,) * (layers - first)
    return kinds, config.whole("sliding_window") if first < layers else 0


def gemma2(config: Config) -> Model:
    """Build a Gemma 2: every second layer slides, norms before and after both blocks."""
    config = config.over({"tie_word_embeddings": True})
    if config.get("layer_types") is not None:
        return decoder(config, layer_norms=4)
    kinds = alternating(layer_count(config), 2)
    window = config.whole("sliding_window")
    return decoder(config, layer_norms=4, attention=kinds, sliding_window=window)


def gemma3(config: Config) -> Model:
    """Build a Gemma 3: five sliding layers to a full one, norms on queries and keys."""
    config = config.over(GEMMA3_DEFAULTS)
    if config.get("layer_types") is not None:
        model = decoder(config, layer_norms=4)
    else:
        period = config.whole("sliding_window_pattern", default=6)
        kinds = alternating(layer_count(config), period)
        window = config.whole("sliding_window")
        if AttentionKind.SLIDING not in kinds:
            window = 0
        model = decoder(config, layer_norms=4, attention=kinds, sliding_window=window)
    return replace(model, extra_parameters=2 * model.head_dim * model.layers)
