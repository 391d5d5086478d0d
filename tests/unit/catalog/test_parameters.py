"""Counted parameters against published ones, and the parts against hand calculations."""

from __future__ import annotations

from dataclasses import replace

import pytest

from servetwin.catalog import count_parameters, find_model, models
from servetwin.catalog.parameters import (
    attention_parameters,
    expert_parameters,
    indexer_parameters,
    mlp_parameters,
    norm_parameters,
    router_parameters,
    shared_expert_parameters,
)
from servetwin.types import AttentionKind, Model

PUBLISHED = [model for model in models() if model.published_parameters]

EXACT = {
    "bigscience/bloom": 176_247_271_424,
    "deepseek-ai/DeepSeek-V2": 235_741_434_880,
    "deepseek-ai/DeepSeek-V2-Lite": 15_706_484_224,
    "deepseek-ai/DeepSeek-V3": 671_026_419_200,
    "facebook/opt-350m": 331_196_416,
    "facebook/opt-6.7b": 6_658_473_984,
    "google/gemma-2-27b": 27_227_128_320,
    "google/gemma-3-1b-pt": 999_885_952,
    "HuggingFaceTB/SmolLM2-360M": 361_821_120,
    "ibm-granite/granite-3.1-8b-base": 8_170_848_256,
    "meta-llama/Llama-2-70b-hf": 68_976_648_192,
    "meta-llama/Llama-3.1-8B": 8_030_261_248,
    "meta-llama/Llama-3.1-405B": 405_853_388_800,
    "meta-llama/Llama-3.2-1B": 1_235_814_400,
    "microsoft/phi-2": 2_779_683_840,
    "microsoft/phi-4": 14_659_507_200,
    "microsoft/Phi-3.5-MoE-instruct": 41_873_153_344,
    "mistralai/Mistral-Nemo-Base-2407": 12_247_782_400,
    "mistralai/Mixtral-8x7B-v0.1": 46_702_792_704,
    "mosaicml/mpt-7b": 6_649_286_656,
    "openai-community/gpt2-xl": 1_557_611_200,
    "openai/gpt-oss-20b": 20_914_757_184,
    "openai/gpt-oss-120b": 116_829_156_672,
    "Qwen/Qwen1.5-MoE-A2.7B": 14_315_784_192,
    "Qwen/Qwen2.5-7B": 7_615_616_512,
    "Qwen/Qwen3-30B-A3B": 30_532_122_624,
    "Qwen/Qwen3-32B": 32_762_123_264,
}
"""Elements of the published weight files."""


def test_enough_models_state_their_size() -> None:
    assert len(PUBLISHED) >= 40


@pytest.mark.parametrize("model", PUBLISHED, ids=lambda model: model.name)
def test_count_is_within_one_percent_of_the_published_one(model: Model) -> None:
    total = count_parameters(model).total
    assert total == pytest.approx(model.published_parameters, rel=0.01)


@pytest.mark.parametrize(("name", "elements"), EXACT.items())
def test_count_equals_the_weight_file(name: str, elements: int) -> None:
    assert count_parameters(find_model(name)).total == elements


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("mistralai/Mixtral-8x7B-v0.1", 12.9),
        ("Qwen/Qwen3-30B-A3B", 3.3),
        ("Qwen/Qwen3-235B-A22B", 22.0),
        ("Qwen/Qwen3.5-397B-A17B", 17.0),
        ("deepseek-ai/DeepSeek-V2", 21.0),
        ("deepseek-ai/DeepSeek-V3", 37.0),
        ("moonshotai/Kimi-K2-Instruct", 32.0),
        ("meta-llama/Llama-4-Maverick-17B-128E-Instruct", 17.0),
        ("microsoft/Phi-3.5-MoE-instruct", 6.6),
        ("microsoft/Phi-mini-MoE-instruct", 2.4),
    ],
)
def test_active_parameters_are_near_the_published_ones(name: str, billions: float) -> None:
    assert count_parameters(find_model(name)).active == pytest.approx(billions * 1e9, rel=0.035)


def test_dense_models_use_every_parameter() -> None:
    for model in models():
        count = count_parameters(model)
        assert (count.active == count.total) == (model.mixture is None), model.name


def test_parts_of_a_dense_model() -> None:
    model = find_model("Llama-3.1-8B")
    count = count_parameters(model)
    assert attention_parameters(model, AttentionKind.FULL) == 4096 * (4096 * 2 + 1024 * 2)
    assert mlp_parameters(model) == 3 * 4096 * 14336
    assert norm_parameters(model) == 2 * 4096
    assert count.embedding == count.head == 128_256 * 4096
    assert count.dense_mlp == 32 * mlp_parameters(model)
    assert count.norms == 65 * 4096
    assert count.experts == count.router == count.shared_experts == count.other == 0


def test_parts_of_a_mixture() -> None:
    model = find_model("DeepSeek-V3")
    count = count_parameters(model)
    expert = 3 * 7168 * 2048
    assert expert_parameters(model) == shared_expert_parameters(model) == expert
    assert router_parameters(model) == 7168 * 256
    assert count.experts == 58 * 256 * expert
    assert count.idle_experts == 58 * 248 * expert
    assert count.dense_mlp == 3 * 3 * 7168 * 18432
    assert count.other == 58 * 256


def test_latent_attention_by_hand() -> None:
    model = find_model("DeepSeek-V3")
    queries = 7168 * 1536 + 1536 + 1536 * 128 * 192
    keys_and_values = 7168 * 576 + 512 + 512 * 128 * 256
    output = 128 * 128 * 7168
    expected = queries + keys_and_values + output
    assert attention_parameters(model, AttentionKind.LATENT) == expected
    assert indexer_parameters(model) == 0


def test_sparse_latent_attention_adds_its_indexer() -> None:
    model = find_model("DeepSeek-V3.2")
    indexer = 1536 * 64 * 128 + 7168 * 128 + 2 * 128 + 7168 * 64
    assert indexer_parameters(model) == indexer
    sparse = attention_parameters(model, AttentionKind.SPARSE_LATENT)
    assert sparse - attention_parameters(model, AttentionKind.LATENT) == indexer


def test_hybrid_layers_differ() -> None:
    model = find_model("Qwen3.5-397B-A17B")
    keys, values = 16 * 128, 64 * 128
    mixed = 2 * keys + values
    mixer = 4096 * (mixed + values + 2 * 64) + 4 * mixed + 64 + 64 + 128 + values * 4096
    assert attention_parameters(model, AttentionKind.LINEAR) == mixer
    gated = 4096 * (2 * 32 * 256 + 2 * 2 * 256) + 32 * 256 * 4096
    assert attention_parameters(model, AttentionKind.FULL) == gated
    assert count_parameters(model).attention == 45 * mixer + 15 * gated


def test_tied_embeddings_have_no_head() -> None:
    tied = find_model("Llama-3.2-1B")
    assert count_parameters(tied).head == 0
    untied = count_parameters(replace(tied, tied_embeddings=False))
    assert untied.head == tied.vocab_size * tied.hidden_size


def test_latent_count_needs_latent_shapes() -> None:
    with pytest.raises(ValueError, match="no latent attention"):
        attention_parameters(find_model("gpt2"), AttentionKind.LATENT)
