"""What the families have in common: sizes, layer patterns, weight types."""

from __future__ import annotations

import re
from typing import Any

from servetwin.catalog.config import Config
from servetwin.types import AttentionKind, Model

__all__ = [
    "MAX_LAYERS",
    "alternating",
    "attention_kinds",
    "decoder",
    "layer_count",
    "weight_dtype",
    "wide_parts",
]

MAX_LAYERS = 4096
"""Bound on the layers a config may name; the largest published models have under 200."""

_LAYER_TYPES = {
    "full_attention": AttentionKind.FULL,
    "sliding_attention": AttentionKind.SLIDING,
    "chunked_attention": AttentionKind.SLIDING,
    "linear_attention": AttentionKind.LINEAR,
}


def layer_count(config: Config) -> int:
    """Read the number of layers."""
    return config.whole("num_hidden_layers", "n_layer", "n_layers", high=MAX_LAYERS)


def decoder(config: Config, **differences: Any) -> Model:
    """Build the common rotary decoder: gated MLP, RMS norms, one MLP a layer.

    `differences` are the Model fields in which a family departs from it.
    """
    hidden = config.whole("hidden_size")
    heads = config.whole("num_attention_heads")
    context = config.whole("max_position_embeddings")
    fields: dict[str, Any] = {
        "name": config.where,
        "layers": layer_count(config),
        "hidden_size": hidden,
        "heads": heads,
        "kv_heads": config.whole("num_key_value_heads", default=heads),
        "head_dim": config.whole("head_dim", default=max(1, hidden // heads)),
        "vocab_size": config.whole("vocab_size"),
        "max_model_len": context,
        "tied_embeddings": config.flag("tie_word_embeddings"),
        "dtype": weight_dtype(config),
    }
    if "intermediate_size" not in differences:
        fields["intermediate_size"] = config.whole("intermediate_size")
    if "attention" not in differences:
        kinds, window = attention_kinds(config, context)
        fields.update(attention=kinds, sliding_window=window)
    return Model(**(fields | differences))


def attention_kinds(config: Config, context: int) -> tuple[tuple[AttentionKind, ...], int]:
    """Read the kind of every layer and the window of the sliding ones (0 without any).

    `layer_types` rules where it is given. Otherwise a `sliding_window` shorter than the
    context applies to every layer. Chunked attention (Llama 4) counts as sliding: its
    chunk bounds the cache just as a window does.
    """
    layers = layer_count(config)
    window = config.whole("sliding_window", "attention_chunk_size", default=0, low=-1)
    named = config.items("layer_types")
    if named is not None:
        kinds = tuple(_layer_kind(config, name) for name in named)
        if len(kinds) != layers:
            raise config.error(f"'layer_types' names {len(kinds)} layers of {layers}")
    elif 0 < window < context:
        kinds = (AttentionKind.SLIDING,) * layers
    else:
        kinds = (AttentionKind.FULL,) * layers
    if AttentionKind.SLIDING not in kinds:
        return kinds, 0
    if window < 1:
        raise config.error("key 'sliding_window' is missing, and some layers slide")
    return kinds, window


def _layer_kind(config: Config, name: object) -> AttentionKind:
    kind = _LAYER_TYPES.get(name) if isinstance(name, str) else None
    if kind is None:
        known = ", ".join(_LAYER_TYPES)
        raise config.error(f"'layer_types' holds {name!r:.40}; known are {known}")
    return kind


def alternating(
    layers: int, period: int, most: AttentionKind = AttentionKind.SLIDING
) -> tuple[AttentionKind, ...]:
    """Return a pattern in which every `period`-th layer is full and the others are `most`."""
    return tuple(AttentionKind.FULL if (i + 1) % period == 0 else most for i in range(layers))


_PLAIN_TYPES = {"float32": "fp32", "float16": "bf16", "bfloat16": "bf16", "": "bf16"}

_QUANTIZED_TYPES = {
    ("float", 8): "fp8",
    ("float", 4): "fp4",
    ("int", 8): "int8",
    ("int", 4): "int4",
}


def weight_dtype(config: Config) -> str:
    """Read the type of most weights: fp32, bf16 (float16 too), fp8, fp4, mxfp4, int8, int4.

    A config that names none is taken for 16 bits, in which it would be served anyway.
    """
    quantization = config.section("quantization_config")
    if quantization is not None:
        return _quantized_dtype(quantization)
    word = config.word("dtype", "torch_dtype").removeprefix("torch.")
    if word not in _PLAIN_TYPES:
        raise config.error(f"dtype '{word:.40}' is not one of float32, float16, bfloat16")
    return _PLAIN_TYPES[word]


_IGNORE_LISTS = ("ignore", "exclude_modules", "modules_to_not_convert")

_PARTS = {
    "attention": re.compile(r"attn"),
    "dense_mlp": re.compile(r"^(?!.*expert).*mlp.*(_proj|\*)"),
    "shared_experts": re.compile(r"shared_expert"),
}


def wide_parts(config: Config) -> tuple[str, ...]:
    """Name the parts that a quantised model leaves in 16 bits.

    They are told from the patterns of module names that the quantisation ignores; a part
    counts as left out where any of its modules is.
    """
    quantization = config.section("quantization_config")
    if quantization is None:
        return ()
    patterns = [str(pattern) for pattern in quantization.items(*_IGNORE_LISTS) or []]
    return tuple(
        part for part, mark in _PARTS.items() if any(mark.search(pattern) for pattern in patterns)
    )


def _quantized_dtype(config: Config) -> str:
    method = config.word("quant_method").casefold()
    if method in ("fp8", "mxfp4"):
        return method
    if method in ("gptq", "awq"):
        return f"int{_choice(config, 'bits', 4)}"
    if method == "bitsandbytes":
        return "int8" if config.flag("load_in_8bit") else "int4"
    if method == "modelopt":
        return "fp4" if "fp4" in config.word("quant_algo").casefold() else "fp8"
    if method == "compressed-tensors":
        return _compressed_dtype(config)
    raise config.error(
        f"quant_method '{method:.40}' is not one of "
        "fp8, mxfp4, gptq, awq, bitsandbytes, modelopt, compressed-tensors"
    )


def _compressed_dtype(config: Config) -> str:
    groups = config.section("config_groups")
    first = groups.section("group_0") if groups else None
    weights = first.section("weights") if first else None
    if weights is None:
        raise config.error("key 'config_groups.group_0.weights' is missing")
    kind = weights.word("type", default="int"), _choice(weights, "num_bits", 8)
    if kind not in _QUANTIZED_TYPES:
        raise weights.error(f"type '{kind[0]:.40}' is not int or float")
    return _QUANTIZED_TYPES[kind]


def _choice(config: Config, key: str, default: int) -> int:
    bits = config.whole(key, default=default)
    if bits not in (4, 8):
        raise config.error(f"'{key}' must be 4 or 8, not {bits}")
    return bits
