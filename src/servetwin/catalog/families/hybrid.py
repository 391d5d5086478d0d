"""Hybrids of linear (gated delta rule) and full attention: Qwen3-Next and Qwen 3.5."""

from __future__ import annotations

from dataclasses import replace

from servetwin.catalog.config import Config
from servetwin.catalog.families.mixture import qwen_mixture
from servetwin.catalog.families.shared import alternating, decoder, layer_count
from servetwin.types import AttentionKind, Model

__all__ = ["qwen3_5", "qwen3_5_moe", "qwen3_next"]


def qwen3_5(config: Config) -> Model:
    """Build a dense Qwen 3.5."""
    if config.get("layer_types") is not None:
        model = decoder(config, attention_gate=True)
    else:
        every = config.whole("full_attention_interval", default=4)
        kinds = alternating(layer_count(config), every, AttentionKind.LINEAR)
        model = decoder(config, attention_gate=True, attention=kinds)
    state, parameters = _gated_delta(config, model.hidden_size)
    full = model.layers_of(AttentionKind.FULL)
    return replace(
        model,
        linear_state=state,
        linear_parameters=parameters,
        extra_parameters=2 * model.head_dim * full,
    )


def qwen3_5_moe(config: Config) -> Model:
    """Build a Qwen 3.5 mixture; it has no dense layers, so no dense size either."""
    size = {"intermediate_size": config.whole("moe_intermediate_size")}
    return qwen_mixture(qwen3_5(config.over(size)), config)


qwen3_next = qwen3_5_moe


def _gated_delta(config: Config, hidden: int) -> tuple[int, int]:
    """Return state elements and parameters of one gated delta-rule mixer.

    State: a matrix for each value head and the inputs that the causal convolution over
    queries, keys and values still needs. Parameters: projections of queries, keys, values,
    output gate and two scalars a head; convolution; decay and its bias; norm; output.
    """
    value_heads = config.whole("linear_num_value_heads")
    key_dim, value_dim = config.whole("linear_key_head_dim"), config.whole("linear_value_head_dim")
    keys = config.whole("linear_num_key_heads") * key_dim
    values = value_heads * value_dim
    taps = config.whole("linear_conv_kernel_dim", default=4)
    mixed = 2 * keys + values
    state = value_heads * key_dim * value_dim + mixed * (taps - 1)
    projections = hidden * (mixed + values + 2 * value_heads) + values * hidden
    return state, projections + mixed * taps + 2 * value_heads + value_dim
