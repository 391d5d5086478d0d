"""Weights, KV bytes and blocks against figures worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servetwin.catalog import count_parameters, find_accelerator, find_link, find_model, models
from servetwin.cost import kv_bytes, plan_memory
from servetwin.cost.dtypes import WEIGHT_DTYPES
from servetwin.cost.memory import weights_on_device
from servetwin.cost.shapes import expert_share
from servetwin.types import AttentionKind, Deployment, EngineSettings, Model, Parallelism
from servetwin.units import GIB


def deployment(
    model: str | Model, gpu: str = "H100-SXM", tp: int = 1, **engine: object
) -> Deployment:
    found = find_model(model) if isinstance(model, str) else model
    accelerator = find_accelerator(gpu)
    return Deployment(
        found,
        accelerator,
        find_link(accelerator.link),
        Parallelism(tp=tp),
        EngineSettings(**engine),  # type: ignore[arg-type]
    )


def gqa(layers: int = 4, kv_heads: int = 8, kind: AttentionKind = AttentionKind.FULL) -> Model:
    return Model(
        "gqa", layers, 1024, 32, kv_heads, 64, 4096, 32000, 65536, (kind,) * layers,
        sliding_window=512 if kind is AttentionKind.SLIDING else 0,
    )  # fmt: skip


def test_the_recorded_blocks_of_vllm_on_an_rtx_4090():
    plan = plan_memory(deployment("meta-llama/Llama-3.1-8B", "RTX-4090", max_model_len=32768), 512)
    assert plan.weights == 2 * 8_030_261_248
    assert 1.15e9 < plan.runtime < 1.3e9
    assert plan.kv_per_token == 131072
    # 2,588 were recorded, the null block among them.
    assert plan.capacity_blocks == pytest.approx(2587, rel=0.03)


@given(
    st.integers(1, 50_000), st.sampled_from([1, 2, 4, 8, 16, 32]), st.sampled_from(["bf16", "fp8"])
)
def test_grouped_query_cache_is_two_vectors_a_head(tokens, tp, dtype):
    heads = max(1, 8 // tp)
    size = 2 if dtype == "bf16" else 1
    assert kv_bytes(gqa(), tokens, dtype, tp) == 4 * 2 * heads * 64 * size * tokens


@given(st.integers(1, 50_000))
def test_a_sliding_window_keeps_no_more_than_the_window(tokens):
    model = gqa(kind=AttentionKind.SLIDING)
    assert kv_bytes(model, tokens) == 4 * 2 * 8 * 64 * 2 * min(tokens, 512)


@given(st.integers(1, 50_000), st.sampled_from([1, 8]))
def test_latent_vectors_are_not_divided_among_devices(tokens, tp):
    assert (
        kv_bytes(find_model("deepseek-ai/DeepSeek-V3"), tokens, "bf16", tp) == 61 * 576 * 2 * tokens
    )


def test_sparse_latent_layers_also_keep_index_keys():
    model = find_model("deepseek-ai/DeepSeek-V3.2")
    assert kv_bytes(model, 1000) == 61 * (576 * 2 + 132) * 1000


def test_linear_layers_keep_a_state_however_long_the_sequence():
    model = find_model("Qwen/Qwen3-Next-80B-A3B-Instruct")
    full = model.layers_of(AttentionKind.FULL)
    token = full * 2 * model.kv_heads * model.head_dim * 2
    assert kv_bytes(model, 1001) - kv_bytes(model, 1000) == token
    state = model.layers_of(AttentionKind.LINEAR) * model.linear_state * 2
    assert kv_bytes(model, 1) == token + state


@pytest.mark.parametrize("model", models(), ids=lambda model: model.name)
def test_weights_agree_with_the_parameter_count(model):
    """At 16 bits on one device, bytes are twice the parameters; only biases differ."""
    weights = weights_on_device(deployment(model, weight_dtype="bf16"))
    assert weights == pytest.approx(2 * count_parameters(model).total, rel=2e-3)


def test_tensor_parallelism_divides_the_weights():
    one = weights_on_device(deployment("meta-llama/Llama-3.1-70B"))
    for tp in (2, 4, 8):
        assert weights_on_device(deployment("meta-llama/Llama-3.1-70B", tp=tp)) == pytest.approx(
            one / tp, rel=1e-3
        )


def test_quantised_models_keep_wide_embeddings():
    wide = deployment("meta-llama/Llama-3.1-8B", weight_dtype="bf16")
    sizes = {name: weights_on_device(deployment("meta-llama/Llama-3.1-8B", weight_dtype=name))
             for name in WEIGHT_DTYPES}  # fmt: skip
    assert sizes["fp32"] == 2 * sizes["bf16"] == 2 * sizes["fp16"]
    counted = count_parameters(wide.model)
    tables = 2 * (counted.embedding + counted.head + counted.norms)
    layers = counted.attention + counted.dense_mlp
    assert sizes["fp8"] == pytest.approx(tables + layers * (1 + 4 / 16384), abs=2)
    assert sizes["int4"] == pytest.approx(tables + layers * (0.5 + 2.5 / 128), abs=2)
    assert sizes["fp4"] > sizes["int4"]


@pytest.mark.parametrize(("model", "gib"), [("openai/gpt-oss-120b", 60.8), ("gpt-oss-20b", 12.8)])
def test_weights_in_mxfp4_take_what_the_model_card_says(model, gib):
    weights = weights_on_device(deployment(model, weight_dtype=find_model(model).dtype))
    assert weights / GIB == pytest.approx(gib, abs=0.05)


def test_experts_are_spread_over_the_devices_that_share_them():
    base = deployment("deepseek-ai/DeepSeek-V3", weight_dtype="fp8")
    spread = replace(base, parallelism=Parallelism(dp=8, ep=8))
    sliced = replace(base, parallelism=Parallelism(dp=8))
    alone = weights_on_device(base)
    assert weights_on_device(spread) == weights_on_device(sliced)
    counted = count_parameters(base.model)
    saved = counted.experts * 7 / 8 * (1 + 4 / 16384)
    assert alone - weights_on_device(spread) == pytest.approx(saved, rel=1e-6)


def test_the_device_with_an_expert_more_counts():
    base = deployment("mistralai/Mixtral-8x7B-v0.1")
    uneven, even = (
        weights_on_device(replace(base, parallelism=Parallelism(dp=ep, ep=ep))) for ep in (6, 4)
    )
    assert uneven == even  # two of eight experts
    spread = expert_share(base.model, Parallelism(dp=3, ep=3))
    assert spread is not None
    assert spread.count == 3


def test_the_fullest_pipeline_stage_counts():
    base = deployment("meta-llama/Llama-3.1-70B")
    split = replace(base, parallelism=Parallelism(pp=3))
    plan, whole = plan_memory(split, 100), plan_memory(base, 100)
    assert plan.kv_per_token == pytest.approx(whole.kv_per_token * 27 / 80)
    assert weights_on_device(split) > weights_on_device(base) / 3


def test_an_override_is_taken_as_it_stands():
    plan = plan_memory(deployment(gqa(), num_gpu_blocks_override=100), 100)
    assert plan.capacity_blocks == 99
    assert plan.kv == 100 * 16 * plan.kv_per_token


def test_data_parallel_ranks_add_their_blocks():
    base = deployment("deepseek-ai/DeepSeek-V2-Lite")
    twice = replace(base, parallelism=Parallelism(dp=2))
    assert plan_memory(twice, 100).capacity_blocks > 2 * plan_memory(base, 100).capacity_blocks


def test_capacity_is_zero_where_nothing_is_left():
    assert plan_memory(deployment("meta-llama/Llama-3.1-70B", "A10"), 100).capacity_blocks == 0
