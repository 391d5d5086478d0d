"""Decoders of before Llama: GPT-2, GPT-J, BigCode, OPT, BLOOM, MPT, Phi-2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from servetwin.catalog.config import Config
from servetwin.catalog.families.shared import layer_count, weight_dtype
from servetwin.types import AttentionKind, Model

__all__ = ["bloom", "gpt2", "gpt_bigcode", "gptj", "mpt", "opt", "phi"]

OPT_POSITION_OFFSET = 2
"""Rows that OPT's position table has beyond its context."""


@dataclass(frozen=True)
class _Shape:
    """Sizes that every family names in its own words."""

    hidden: int
    heads: int
    inner: int
    context: int


def _build(config: Config, shape: _Shape, **fields: Any) -> Model:
    defaults: dict[str, Any] = {
        "kv_heads": shape.heads,
        "tied_embeddings": True,
        "bias": True,
    }
    layers = layer_count(config)
    return Model(
        name=config.where,
        layers=layers,
        hidden_size=shape.hidden,
        heads=shape.heads,
        head_dim=max(1, shape.hidden // shape.heads),
        intermediate_size=shape.inner,
        vocab_size=config.whole("vocab_size"),
        max_model_len=shape.context,
        attention=(AttentionKind.FULL,) * layers,
        gated_mlp=False,
        dtype=weight_dtype(config),
        **(defaults | fields),
    )


def _gpt_shape(config: Config) -> _Shape:
    hidden = config.whole("n_embd", "hidden_size")
    return _Shape(
        hidden=hidden,
        heads=config.whole("n_head", "num_attention_heads"),
        inner=config.whole("n_inner", default=4 * hidden),
        context=config.whole("n_positions", "max_position_embeddings"),
    )


def gpt2(config: Config) -> Model:
    """Build a GPT-2 or DialoGPT."""
    shape = _gpt_shape(config)
    return _build(config, shape, learned_positions=shape.context)


def gpt_bigcode(config: Config) -> Model:
    """Build a StarCoder or Granite 20B: a GPT-2 whose heads share one key and value."""
    shape = _gpt_shape(config)
    kv_heads = 1 if config.flag("multi_query", default=True) else shape.heads
    return _build(config, shape, kv_heads=kv_heads, learned_positions=shape.context)


def gptj(config: Config) -> Model:
    """Build a GPT-J: attention beside the MLP, bias on the MLP, norms and head only."""
    shape = _gpt_shape(config)
    biases = shape.inner + 2 * shape.hidden
    extra = layer_count(config) * biases + shape.hidden + config.whole("vocab_size")
    tied = config.flag("tie_word_embeddings")
    return _build(
        config, shape, bias=False, layer_norms=1, tied_embeddings=tied, extra_parameters=extra
    )


def phi(config: Config) -> Model:
    """Build a Phi 1 to 2: attention beside the MLP, bias everywhere, head included."""
    heads = config.whole("num_attention_heads")
    shape = _Shape(
        hidden=config.whole("hidden_size"),
        heads=heads,
        inner=config.whole("intermediate_size"),
        context=config.whole("max_position_embeddings"),
    )
    return _build(
        config,
        shape,
        kv_heads=config.whole("num_key_value_heads", default=heads),
        layer_norms=1,
        tied_embeddings=config.flag("tie_word_embeddings"),
        extra_parameters=config.whole("vocab_size"),
    )


def opt(config: Config) -> Model:
    """Build an OPT. The 350M one has a narrower token table, projected in and out."""
    hidden = config.whole("hidden_size")
    shape = _Shape(
        hidden=hidden,
        heads=config.whole("num_attention_heads"),
        inner=config.whole("ffn_dim"),
        context=config.whole("max_position_embeddings"),
    )
    extra = 0
    table = config.whole("word_embed_proj_dim", default=hidden)
    if table != hidden:
        extra = 2 * hidden * table - (hidden - table) * config.whole("vocab_size")
    if not config.flag("do_layer_norm_before", default=True):
        extra -= 2 * hidden
    return _build(
        config,
        shape,
        learned_positions=shape.context + OPT_POSITION_OFFSET,
        tied_embeddings=config.flag("tie_word_embeddings", default=True),
        extra_parameters=extra,
    )


def bloom(config: Config) -> Model:
    """Build a BLOOM: ALiBi, and a layer norm behind the token table."""
    hidden = config.whole("hidden_size", "n_embed")
    shape = _Shape(
        hidden=hidden,
        heads=config.whole("n_head", "num_attention_heads"),
        inner=4 * hidden,
        context=config.whole("seq_length", default=2048),
    )
    return _build(config, shape, extra_parameters=2 * hidden)


def mpt(config: Config) -> Model:
    """Build an MPT: ALiBi, and no bias unless `no_bias` is false."""
    hidden = config.whole("d_model")
    heads = config.whole("n_heads")
    shape = _Shape(
        hidden=hidden,
        heads=heads,
        inner=config.whole("expansion_ratio", default=4, high=1024) * hidden,
        context=config.whole("max_seq_len"),
    )
    attention = config.section("attn_config")
    alibi = attention is not None and attention.flag("alibi")
    kind = attention.word("attn_type", default="multihead_attention") if attention else ""
    return _build(
        config,
        shape,
        kv_heads=1 if kind == "multiquery_attention" else heads,
        bias=not config.flag("no_bias", default=True),
        learned_positions=0 if alibi else shape.context,
    )
