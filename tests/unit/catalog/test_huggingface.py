"""Reading config.json: published files, errors that name the key, and junk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servetwin.catalog import count_parameters, find_model, model_from_config
from servetwin.catalog.huggingface import FAMILIES, SUPPORTED
from servetwin.errors import InputError
from servetwin.types import AttentionKind

CONFIGS: dict[str, dict[str, Any]] = {
    file.stem.replace("__", "/"): json.loads(file.read_text(encoding="utf-8"))
    for file in sorted((Path(__file__).parent / "configs").glob("*.json"))
}
"""Published files, shortened to the keys that say something about serving."""

LLAMA = CONFIGS["meta-llama/Llama-3.1-8B"]


def with_changes(config: Mapping[str, Any], **changes: object) -> dict[str, Any]:
    return {**config, **changes}


@pytest.mark.parametrize("name", CONFIGS)
def test_published_file_equals_the_catalog(name: str) -> None:
    model = model_from_config(CONFIGS[name], name)
    entry = find_model(name)
    expected = replace(entry, source="", published_parameters=0.0)
    assert model == expected


@pytest.mark.parametrize("name", CONFIGS)
def test_file_survives_its_way_through_json(name: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIGS[name]), encoding="utf-8")
    assert replace(find_model(str(tmp_path)), name=name) == model_from_config(CONFIGS[name], name)


def test_enough_architectures_are_covered() -> None:
    kinds = {config["architectures"][0] for config in CONFIGS.values()}
    assert len(kinds) >= 20


@pytest.mark.parametrize("name", CONFIGS)
def test_architectures_stand_in_for_the_model_type(name: str) -> None:
    config = {key: value for key, value in CONFIGS[name].items() if key != "model_type"}
    assert model_from_config(config, name) == model_from_config(CONFIGS[name], name)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_key_may_be_missing_without_a_crash(name: str) -> None:
    config = CONFIGS[name]
    for key in config:
        _only_input_errors({k: v for k, v in config.items() if k != key})
    inner = config.get("text_config", {})
    for key in inner:
        text = {k: v for k, v in inner.items() if k != key}
        _only_input_errors({**config, "text_config": text})


def _only_input_errors(config: Mapping[str, object]) -> None:
    """Check that a config either gives a model or one readable line."""
    message = ""
    try:
        count = count_parameters(model_from_config(config, "junk"))
    except InputError as error:
        message = str(error)
    else:
        assert count.active <= count.total
    assert "\n" not in message
    assert len(message) < 1000


@pytest.mark.parametrize("key", ["hidden_size", "num_hidden_layers", "vocab_size"])
def test_missing_key_is_named(key: str) -> None:
    config = {k: v for k, v in LLAMA.items() if k != key}
    with pytest.raises(InputError, match=f"config of mine: key '{key}' is missing"):
        model_from_config(config, "mine")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "mamba2", "architectures": ["Mamba2"]}, "'mamba2' is not supported"),
        ({"model_type": 7}, "'model_type' must be a string"),
        ({"hidden_size": -1}, "'hidden_size' must be a whole number from 1 to"),
        ({"hidden_size": 4096.5}, "'hidden_size' must be a whole number"),
        ({"hidden_size": True}, "'hidden_size' must be a whole number"),
        ({"hidden_size": 10**30}, "'hidden_size' must be a whole number"),
        ({"num_hidden_layers": 10**9}, "'num_hidden_layers' must be a whole number"),
        ({"num_key_value_heads": 7}, "kv_heads must divide heads"),
        ({"tie_word_embeddings": "yes"}, "'tie_word_embeddings' must be true or false"),
        ({"torch_dtype": "complex64"}, "dtype 'complex64' is not one of"),
        ({"layer_types": ["full_attention"]}, "'layer_types' names 1 layers of 32"),
        ({"layer_types": ["magic"] * 32}, "known are full_attention"),
        ({"layer_types": "full"}, "'layer_types' must be a list"),
        ({"layer_types": ["sliding_attention"] * 32}, "'sliding_window' is missing"),
        ({"quantization_config": {"quant_method": "magic"}}, "quant_method 'magic'"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 3}}, "'bits' must be 4 or 8"),
        ({"quantization_config": "fp8"}, "'quantization_config' must be a table"),
        ({"quantization_config": {"quant_method": "compressed-tensors"}}, "config_groups"),
    ],
)
def test_nonsense_is_told_in_one_line(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        model_from_config(with_changes(LLAMA, **changes), "mine")
    assert "\n" not in str(error.value)


def test_unsupported_architecture_lists_the_supported_ones() -> None:
    with pytest.raises(InputError) as error:
        model_from_config({"architectures": ["WhisperForConditionalGeneration"]}, "mine")
    for kind in SUPPORTED:
        assert kind in str(error.value)


def test_more_experts_a_token_than_experts() -> None:
    for name in ("mistralai/Mixtral-8x7B-v0.1", "deepseek-ai/DeepSeek-V3"):
        with pytest.raises(InputError, match="'num_experts_per_tok' is 999, of"):
            model_from_config(with_changes(CONFIGS[name], num_experts_per_tok=999), name)


@pytest.mark.parametrize(
    ("quantization", "dtype"),
    [
        ({"quant_method": "fp8"}, "fp8"),
        ({"quant_method": "mxfp4"}, "mxfp4"),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "fp4"),
        ({"quant_method": "modelopt", "quant_algo": "FP8"}, "fp8"),
        ({"quant_method": "gptq", "bits": 8}, "int8"),
        ({"quant_method": "awq", "bits": 4}, "int4"),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "int8"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "int4"),
    ],
)
def test_quantization_sets_the_weight_type(quantization: dict[str, object], dtype: str) -> None:
    config = with_changes(LLAMA, quantization_config=quantization)
    assert model_from_config(config, "mine").dtype == dtype


@pytest.mark.parametrize(
    ("word", "dtype"),
    [("float32", "fp32"), ("torch.float16", "bf16"), ("bfloat16", "bf16"), (None, "bf16")],
)
def test_weight_types(word: str | None, dtype: str) -> None:
    assert model_from_config(with_changes(LLAMA, torch_dtype=word), "mine").dtype == dtype


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("moonshotai/Kimi-K2.5", ("attention", "dense_mlp", "shared_experts")),
        ("nvidia/DeepSeek-R1-NVFP4", ("attention",)),
        ("openai/gpt-oss-120b", ("attention",)),
        ("deepseek-ai/DeepSeek-V3", ()),
        ("meta-llama/Llama-3.1-8B", ()),
    ],
)
def test_parts_left_in_16_bits(name: str, parts: tuple[str, ...]) -> None:
    assert find_model(name).wide_parts == parts


def test_router_is_no_dense_mlp() -> None:
    ignored = ["model.layers.11.mlp.gate", "model.layers.3.mlp.experts.0.up_proj", 7]
    quantization = {"quant_method": "fp8", "modules_to_not_convert": ignored}
    config = with_changes(CONFIGS["deepseek-ai/DeepSeek-V3"], quantization_config=quantization)
    assert model_from_config(config, "mine").wide_parts == ()


def test_window_of_qwen_counts_only_where_it_is_used() -> None:
    qwen = CONFIGS["Qwen/Qwen2-7B"]
    used = with_changes(qwen, use_sliding_window=True, sliding_window=4096, max_window_layers=20)
    model = model_from_config(used, "mine")
    assert model.layers_of(AttentionKind.FULL) == 20
    assert model.layers_of(AttentionKind.SLIDING) == 8
    assert model.sliding_window == 4096


def test_window_as_long_as_the_context_is_none() -> None:
    config = with_changes(CONFIGS["mistralai/Mistral-7B-v0.1"], sliding_window=32768)
    assert model_from_config(config, "mine").layers_of(AttentionKind.SLIDING) == 0


def test_dense_layers_of_a_sparse_qwen() -> None:
    config = with_changes(CONFIGS["Qwen/Qwen3-30B-A3B"], mlp_only_layers=[0, 47])
    model = model_from_config(config, "mine")
    assert model.mixture is not None
    assert model.mixture.moe_layers == 46
    every_second = with_changes(CONFIGS["Qwen/Qwen3-30B-A3B"], decoder_sparse_step=2)
    model = model_from_config(every_second, "mine")
    assert model.mixture is not None
    assert model.mixture.moe_layers == 24


def test_bias_of_a_llama_covers_its_output_projection() -> None:
    plain = count_parameters(model_from_config(LLAMA, "mine")).total
    biased = with_changes(LLAMA, attention_bias=True, mlp_bias=True)
    layer = (4096 + 2 * 1024 + 4096) + (2 * 14336 + 4096)
    assert count_parameters(model_from_config(biased, "mine")).total == plain + 32 * layer


def test_variable_key_value_heads_are_widened_to_the_most() -> None:
    config = with_changes(LLAMA, model_type="deci", num_key_value_heads_per_layer=[1, 4, 2])
    assert model_from_config(config, "mine").kv_heads == 4


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4)
    ),
    max_leaves=12,
)
KEYS = sorted({key for config in CONFIGS.values() for key in config})
INNER_KEYS = sorted({key for c in CONFIGS.values() for key in c.get("text_config", {})})


@given(st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=10), JSON, max_size=20))
def test_junk_raises_only_input_errors(config: dict[str, Any]) -> None:
    _only_input_errors(config)


@given(
    st.sampled_from(sorted(CONFIGS)),
    st.dictionaries(st.sampled_from(KEYS + INNER_KEYS), JSON | st.integers(-2, 99), max_size=4),
)
def test_spoiled_files_raise_only_input_errors(name: str, changes: dict[str, Any]) -> None:
    config = CONFIGS[name]
    if isinstance(config.get("text_config"), dict):
        config = with_changes(config, text_config=with_changes(config["text_config"], **changes))
        _only_input_errors(config)
    _only_input_errors(with_changes(config, **changes))


@given(st.sampled_from(sorted(FAMILIES)), st.dictionaries(st.sampled_from(KEYS), st.integers(0, 9)))
def test_small_numbers_raise_only_input_errors(kind: str, config: dict[str, Any]) -> None:
    _only_input_errors({**config, "model_type": kind})
