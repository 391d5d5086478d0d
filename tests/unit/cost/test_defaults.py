"""Engine defaults, as vLLM's API server and the other engines choose them."""

from __future__ import annotations

import pytest

from servetwin.catalog import find_accelerator, find_model
from servetwin.cost import resolve_settings
from servetwin.cost.defaults import SCHEDULER_DEFAULTS
from servetwin.errors import InputError
from servetwin.types import SCHEDULERS

LLAMA = find_model("meta-llama/Llama-3.1-8B")


@pytest.mark.parametrize(
    ("gpu", "batch", "seqs"),
    [
        ("H100-SXM", 8192, 1024),
        ("B200", 8192, 1024),
        ("MI300X", 8192, 1024),
        ("A100-80GB", 2048, 256),
        ("RTX-4090", 2048, 256),
        ("L40S", 2048, 256),
    ],
)
def test_vllm_defaults_depend_on_the_device(gpu, batch, seqs):
    settings = resolve_settings(LLAMA, find_accelerator(gpu))
    assert (settings.max_num_batched_tokens, settings.max_num_seqs) == (batch, seqs)
    assert settings.max_model_len == LLAMA.max_model_len
    assert (settings.block_size, settings.gpu_memory_utilization) == (16, 0.9)
    assert settings.kv_cache_dtype == settings.weight_dtype == "bf16"
    assert settings.async_scheduling


def test_sequences_yield_to_the_token_budget_only_where_nobody_chose_them():
    h100 = find_accelerator("H100-SXM")
    assert resolve_settings(LLAMA, h100, max_num_batched_tokens=512).max_num_seqs == 512
    with pytest.raises(InputError, match="max_num_seqs"):
        resolve_settings(LLAMA, h100, max_num_batched_tokens=512, max_num_seqs=600)


def test_every_scheduler_has_sourced_defaults():
    assert set(SCHEDULER_DEFAULTS) == set(SCHEDULERS)
    for scheduler, defaults in SCHEDULER_DEFAULTS.items():
        settings = resolve_settings(LLAMA, find_accelerator("A10"), scheduler=scheduler)
        assert settings.max_num_seqs == defaults.max_num_seqs
        assert settings.async_scheduling == (scheduler == "vllm")
        assert defaults.source


def test_spellings_of_vllm_are_understood():
    h100 = find_accelerator("H100-SXM")
    assert resolve_settings(LLAMA, h100, quantization="awq").weight_dtype == "int4"
    assert resolve_settings(LLAMA, h100, kv_cache_dtype="fp8_e4m3").kv_cache_dtype == "fp8"
    assert resolve_settings(LLAMA, h100, kv_cache_dtype="auto").kv_cache_dtype == "bf16"
    deepseek = find_model("deepseek-ai/DeepSeek-V3")
    assert resolve_settings(deepseek, h100).weight_dtype == "fp8"
    assert resolve_settings(deepseek, h100, max_num_seqs=None).max_num_seqs == 1024


@pytest.mark.parametrize("gpu", ["V100-SXM2-32GB", "T4"])
def test_devices_without_bf16_serve_in_fp16(gpu):
    accelerator = find_accelerator(gpu)
    for chosen in ({}, {"quantization": "bf16"}, {"quantization": "fp16"}):
        settings = resolve_settings(LLAMA, accelerator, **chosen)
        assert settings.weight_dtype == settings.kv_cache_dtype == "fp16"
    assert resolve_settings(LLAMA, accelerator, quantization="awq").weight_dtype == "int4"
    assert resolve_settings(LLAMA, find_accelerator("CPU")).weight_dtype == "bf16"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"quantization": "fp9"}, "fp8"),
        ({"kv_cache_dtype": "bf17"}, "bf16"),
        ({"scheduler": "vlm"}, "did you mean vllm"),
        ({"max_num_sequences": 3}, "did you mean max_num_seqs"),
        ({"block_size": 0}, "block_size must be at least 1"),
    ],
)
def test_mistakes_name_what_would_be_right(overrides, message):
    with pytest.raises(InputError, match=message):
        resolve_settings(LLAMA, find_accelerator("A10"), **overrides)
