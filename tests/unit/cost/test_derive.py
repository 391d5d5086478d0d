"""Properties that every derived cost model has."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servetwin.catalog import find_accelerator, find_link, find_model
from servetwin.cost import derive, resolve_settings
from servetwin.cost.attention import attention_cost
from servetwin.cost.curves import Roof, curves_for
from servetwin.cost.launches import launch_seconds
from servetwin.cost.linear import head_parts, token_parts
from servetwin.types import Deployment, IterationCost, Parallelism

MODELS = (
    "meta-llama/Llama-3.1-8B",
    "openai-community/gpt2",
    "google/gemma-3-12b-pt",
    "Qwen/Qwen3-30B-A3B-Instruct-2507",
    "mistralai/Mixtral-8x7B-v0.1",
    "deepseek-ai/DeepSeek-V2-Lite",
    "deepseek-ai/DeepSeek-V3.2",
    "Qwen/Qwen3-Next-80B-A3B-Instruct",
)
GPUS = ("A100-80GB", "H100-SXM", "RTX-4090", "B200", "T4", "MI300X", "CPU")


def deployment(
    model: str, gpu: str = "H100-SXM", parallel: Parallelism | None = None, **engine: object
) -> Deployment:
    found, accelerator = find_model(model), find_accelerator(gpu)
    engine = {"max_num_batched_tokens": 512, "max_num_seqs": 64} | engine
    link = find_link(accelerator.link if accelerator.link != "none" else "PCIe4")
    return Deployment(
        found, accelerator, link, parallel or Parallelism(),
        resolve_settings(found, accelerator, **engine),
    )  # fmt: skip


def coefficients(cost: IterationCost) -> dict[str, np.ndarray]:
    return {
        name: np.atleast_1d(getattr(cost, name))
        for name in cost.__dataclass_fields__
        if name != "window" and getattr(cost, name) is not None
    }


deployments = st.builds(
    deployment,
    st.sampled_from(MODELS),
    st.sampled_from(GPUS),
    st.builds(Parallelism, tp=st.sampled_from([1, 2, 4]), pp=st.sampled_from([1, 2])),
)


@settings(max_examples=60)
@given(deployments)
def test_tables_grow_with_the_batch_and_go_on_beyond_it(deployed):
    cost = derive(deployed, 1000).iteration
    for table, slope in ((cost.linear, cost.linear_slope), (cost.head, cost.head_slope)):
        assert table[0] == 0
        assert np.all(np.diff(table) >= 0)
        assert table[1] > 0
        assert slope > 0
    assert cost.base > 0


@settings(max_examples=60)
@given(deployments)
def test_no_coefficient_is_zero_that_should_not_be(deployed):
    cost = derive(deployed, 1000).iteration
    windowed = cost.window > 0
    assert (cost.decode_window_ctx > 0) == (cost.prefill_window_attn > 0) == windowed
    assert cost.decode_ctx > 0
    assert cost.prefill_attn > 0
    assert cost.decode_seq > 0
    assert cost.prefill_chunk > 0


@settings(max_examples=40)
@given(deployments)
def test_faster_memory_arithmetic_or_links_never_slow_anything(deployed):
    before = coefficients(derive(deployed, 1000).iteration)
    gpu, link = deployed.accelerator, deployed.link
    doubled = {name: 2 * rate for name, rate in gpu.flops.items()}
    for better in (
        replace(deployed, accelerator=replace(gpu, bandwidth=2 * gpu.bandwidth)),
        replace(deployed, accelerator=replace(gpu, flops=doubled)),
        replace(deployed, link=replace(link, bandwidth=2 * link.bandwidth, latency=0.0)),
    ):
        after = coefficients(derive(better, 1000).iteration)
        for name, values in before.items():
            if name.endswith("_slope"):
                continue
            assert np.all(after[name] <= values), name


@settings(max_examples=40)
@given(deployments, st.integers(1, 512), st.integers(1, 64))
def test_a_table_entry_is_the_sum_of_its_operations(deployed, tokens, sampled):
    cost = derive(deployed, 1000).iteration
    gpu = deployed.accelerator
    curves = curves_for(gpu.name)
    half = gpu.flops.get("bf16") or gpu.flops.get("fp16") or gpu.flops["fp32"]
    attention = attention_cost(deployed, curves, Roof(half, gpu.bandwidth))
    parts = token_parts(deployed, curves, np.array([float(tokens)]))
    seconds = sum(part[0] for part in parts.values())
    seconds += attention.launch + attention.prefill_token * tokens
    if tokens > min(512, 2 * deployed.settings.max_num_seqs):  # more than a CUDA graph has
        seconds = max(seconds, launch_seconds(deployed, curves) - curves.host.step_us * 1e-6)
    assert cost.linear[tokens] == pytest.approx(seconds * 1e12, abs=1)
    heads = head_parts(deployed, curves, np.array([float(sampled)]))
    assert cost.head[sampled] == pytest.approx(sum(p[0] for p in heads.values()) * 1e12, abs=1)


def test_the_slope_continues_the_table_at_twice_its_size():
    small = derive(deployment(MODELS[0], max_num_batched_tokens=2048), 1000).iteration
    large = derive(deployment(MODELS[0], max_num_batched_tokens=4096), 1000).iteration
    assert np.array_equal(small.linear, large.linear[:2049])
    beyond = int(small.linear[-1]) + 2048 * small.linear_slope
    assert beyond == pytest.approx(int(large.linear[4096]), abs=2048)


def test_decode_reads_every_cached_byte_at_the_fitted_rate():
    deployed = deployment("meta-llama/Llama-3.1-8B")
    curve = curves_for("H100-SXM").decode
    seconds = 131072 / (deployed.accelerator.bandwidth * curve.memory)
    assert derive(deployed, 1000).iteration.decode_ctx == round(seconds * 1e12)
    half = deployment("meta-llama/Llama-3.1-8B", kv_cache_dtype="fp8")
    assert derive(half, 1000).iteration.decode_ctx == pytest.approx(seconds * 5e11, abs=1)


def test_pairs_are_counted_twice_and_in_fractions():
    deployed = deployment("meta-llama/Llama-3.1-8B")
    cost = derive(deployed, 1000).iteration
    # 4096 tokens from nothing: A = 4096 ** 2, half as many pairs.
    seconds = 4096**2 / 2 * 32 * 4 * 32 * 128 / (989.4e12 * curves_for("H100-SXM").prefill.compute)
    assert cost.prefill_attn * 4096**2 / 1024 == pytest.approx(seconds * 1e12, rel=1e-5)


def test_windowed_layers_are_charged_apart():
    cost = derive(deployment("google/gemma-3-12b-pt"), 1000).iteration
    assert cost.window == 1024
    assert cost.decode_window_ctx == pytest.approx(5 * cost.decode_ctx, rel=1e-3)
    sparse = derive(deployment("deepseek-ai/DeepSeek-V3.2"), 1000).iteration
    assert sparse.window == 2048
    assert 0 < sparse.decode_ctx < sparse.decode_window_ctx


def test_tensor_parallelism_shares_the_work():
    one = derive(deployment("meta-llama/Llama-3.1-70B"), 1000).iteration
    four = derive(
        deployment("meta-llama/Llama-3.1-70B", parallel=Parallelism(tp=4)), 1000
    ).iteration
    assert one.linear[1] / 4 < four.linear[1] < one.linear[1] / 2
    assert four.decode_ctx == pytest.approx(one.decode_ctx / 4, abs=1)


def test_a_pipeline_adds_transfers_and_says_what_it_leaves_out():
    one = derive(deployment("meta-llama/Llama-3.1-70B"), 1000)
    two = derive(deployment("meta-llama/Llama-3.1-70B", parallel=Parallelism(pp=2)), 1000)
    assert np.all(two.iteration.linear[1:] > one.iteration.linear[1:])
    assert any("one iteration in flight" in note for note in two.notes)


def test_few_tokens_read_few_experts():
    """Of 128 experts, 8 a token: the first token reads 8, many tokens read them all."""
    deployed = deployment("Qwen/Qwen3-30B-A3B-Instruct-2507")
    curves = curves_for("H100-SXM")
    few, many = token_parts(deployed, curves, np.array([1.0, 512.0]))["experts"]
    assert 5 < many / few < 16


def test_quantised_weights_are_faster_to_read_and_say_how_they_are_computed():
    wide = derive(deployment("meta-llama/Llama-3.1-8B", "A100-80GB"), 1000)
    narrow = derive(deployment("meta-llama/Llama-3.1-8B", "A100-80GB", quantization="fp8"), 1000)
    assert narrow.iteration.linear[1] < 0.7 * wide.iteration.linear[1]
    assert any("knows no fp8 arithmetic" in note for note in narrow.notes)
    assert wide.notes == ()


@pytest.mark.parametrize("engine", [{}, {"quantization": "awq"}])
def test_devices_without_bf16_say_what_vllm_must_be_told(engine):
    notes = derive(deployment(MODELS[0], "V100-SXM2-32GB", **engine), 1000).notes
    assert any("has no bf16: fp16 is assumed" in note for note in notes)
    others = derive(deployment(MODELS[0], "A100-80GB", **engine), 1000).notes
    assert not any("--dtype half" in note for note in others)


def test_narrow_weights_on_a_device_without_bf16_are_computed_in_fp16():
    notes = derive(deployment(MODELS[0], "T4", quantization="fp8"), 1000).notes
    assert any("fp8 weights are stored small and computed in fp16" in note for note in notes)


def test_only_vllm_plans_while_the_device_works():
    """Whoever asks another scheduler for it does not get an iteration that costs less."""
    bases = {
        (scheduler, ahead): derive(
            deployment(MODELS[0], scheduler=scheduler, async_scheduling=ahead), 1000
        ).iteration.base
        for scheduler in ("vllm", "orca")
        for ahead in (True, False)
    }
    assert bases["vllm", True] < bases["vllm", False]
    assert bases["orca", True] == bases["orca", False] == bases["vllm", False]


def test_blocks_sized_for_short_sequences_say_what_they_cannot_hold():
    gemma = deployment("google/gemma-3-27b-it", "A100-80GB")
    assert any("would fit alone" in note for note in derive(gemma, 300).notes)
    assert not any("would fit alone" in note for note in derive(gemma, 100_000).notes)


def test_an_engine_of_several_machines_says_what_connects_them():
    wide = deployment("meta-llama/Llama-3.1-70B", parallel=Parallelism(tp=16))
    assert any("also between machines" in note for note in derive(wide, 1000).notes)


def test_transfers_that_take_no_time_are_named():
    cut = deployment(MODELS[0], parallel=Parallelism(tp=2))
    free = replace(cut, link=find_link("none"))
    assert any("link none: transfers between the 2 devices" in n for n in derive(free, 1000).notes)
    alone = replace(free, parallelism=Parallelism())
    for other in (cut, alone):
        assert not any("link none" in note for note in derive(other, 1000).notes)


def test_slots_say_how_little_each_holds():
    few, many = (
        deployment(MODELS[0], "RTX-4090", scheduler="slots", max_num_seqs=count)
        for count in (1, 64)
    )
    cost = derive(many, 1000)
    tokens = cost.memory.capacity_blocks // 64 * 16
    assert any(f"each of the 64 slots holds {tokens} tokens" in note for note in cost.notes)
    short = replace(few, settings=replace(few.settings, max_model_len=2000))
    assert not any("slots hold" in note for note in derive(short, 1000).notes)


def test_devices_without_timings_say_so():
    assert any(
        "no kernel timings" in note for note in derive(deployment(MODELS[0], "B200"), 1).notes
    )
    assert "H100 SXM" in derive(deployment(MODELS[0], "H200"), 1).source


@pytest.mark.parametrize(
    ("name", "curve"),
    [
        ("A100-80GB", "A100"),
        ("A100-40GB-PCIe", "A100"),
        ("A40", "A40"),
        ("A4000", "default"),
        ("RTX-A6000", "A40"),
        ("rtx 4090", "RTX4090"),
        ("RTX-PRO-6000", "RTXPRO6000"),
        ("GH200", "H100"),
        ("CPU", "default"),
    ],
)
def test_curves_are_found_by_the_start_of_a_name(name, curve):
    assert curves_for(name).name == curve


def test_deriving_is_quick():
    deployed = deployment(
        "meta-llama/Llama-3.1-70B", max_num_batched_tokens=8192, max_num_seqs=1024
    )
    derive(deployed, 1000)
    start = time.perf_counter()
    for _ in range(5):
        derive(deployed, 1000)
    assert (time.perf_counter() - start) / 5 < 0.03
