"""Iterations that are no CUDA graph take as long as Python needs to launch them."""

from __future__ import annotations

import pytest

from servetwin.catalog import find_accelerator, find_link, find_model
from servetwin.cost import derive, resolve_settings
from servetwin.cost.curves import curves_for
from servetwin.cost.graphs import graph_sizes
from servetwin.cost.launches import launch_seconds, operations
from servetwin.types import Deployment, Parallelism

LLAMA = "meta-llama/Llama-3.1-8B"


@pytest.mark.parametrize(
    ("model", "tp", "quantization", "each"),
    [
        (LLAMA, 1, None, 6 + 4),
        (LLAMA, 2, None, 6 + 4 + 2),
        (LLAMA, 1, "fp8", 6 + 2 + 4 + 2),
        ("openai/gpt-oss-120b", 1, None, 6 + 9),  # attention stays in 16 bits
        (LLAMA, 1, "awq", 6 + 4),  # computed in 16 bits
    ],
)
def test_operations_of_one_layer(model: str, tp: int, quantization: str | None, each: int) -> None:
    found = deployment(model, tp, quantization=quantization)
    assert operations(found) == each * found.model.layers


def test_latent_attention_and_experts() -> None:
    found = deployment("deepseek-ai/DeepSeek-V3", 8, quantization="fp8")
    mixtures = 58  # of 61 layers
    dense = 61 - mixtures
    expected = 61 * (12 + 5 + 2) + dense * (4 + 2) + mixtures * (9 + 3 + 2)
    assert operations(found) == expected


def test_small_batches_are_graphs_and_large_ones_are_launched() -> None:
    # Few layers on a fast device: launching takes longer than computing.
    found = deployment("openai/gpt-oss-120b", 8)
    least = launch_seconds(found, curves_for("B200")) * 1e12
    cost = derive(found, 1000).iteration
    assert cost.base + cost.linear[512] < least
    assert cost.base + cost.linear[513] == pytest.approx(least, abs=1)
    eager = derive(deployment("openai/gpt-oss-120b", 8, max_cudagraph_capture_size=0), 1000)
    assert eager.iteration.base + eager.iteration.linear[1] == pytest.approx(least, abs=1)


def test_graphs_end_at_twice_the_sequences() -> None:
    few = derive(deployment("openai/gpt-oss-120b", 8, max_num_seqs=16), 1000).iteration
    assert few.linear[32] < few.linear[33] == few.linear[512]


def test_drafted_tokens_are_in_graphs_too() -> None:
    few = {"max_num_seqs": 8, "speculative_tokens": 3, "acceptance_length": 2.0}
    sizes = graph_sizes(deployment("openai/gpt-oss-120b", 8, **few))
    assert sizes[-1] == 8 * 4 * 2
    assert graph_sizes(deployment("openai/gpt-oss-120b", 8, max_num_seqs=8))[-1] == 8 * 2


def test_a_size_that_is_given_is_taken() -> None:
    few = deployment(LLAMA, max_num_seqs=8, max_cudagraph_capture_size=2048)
    assert graph_sizes(few)[-1] == 2048
    small = deployment(
        LLAMA, max_num_seqs=8, max_num_batched_tokens=256, max_cudagraph_capture_size=2048
    )
    assert graph_sizes(small)[-1] == 256


def test_each_rank_has_graphs_of_its_own() -> None:
    ranks = derive(deployment("openai/gpt-oss-120b", 1, dp=4), 1000).iteration
    assert ranks.linear[4 * 512] < ranks.linear[4 * 512 + 1]


def test_an_engine_in_another_language_launches_at_once() -> None:
    found = deployment(LLAMA, 1, scheduler="slots")
    assert launch_seconds(found, curves_for("B200")) == 0.0


def deployment(model: str, tp: int = 1, dp: int = 1, **settings: object) -> Deployment:
    found, gpu = find_model(model), find_accelerator("B200")
    return Deployment(
        found,
        gpu,
        find_link(gpu.link),
        Parallelism(tp=tp, dp=dp),
        resolve_settings(found, gpu, dp=dp, **settings),
    )
