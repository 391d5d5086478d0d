"""Limits of a data-parallel rank are vLLM's; an engine has those of all its ranks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from servetwin.catalog import find_accelerator, find_link, find_model
from servetwin.cost import derive, plan_memory, rank_limits, resolve_settings
from servetwin.cost.memory import runtime_bytes
from servetwin.errors import InputError
from servetwin.report.facts import facts
from servetwin.results import summary
from servetwin.sim import SimOptions, simulate
from servetwin.sim.running import describe
from servetwin.types import Deployment, Parallelism, Workload

REFERENCE = SimOptions(engine="reference")
LIMITS = ("max_num_seqs", "max_num_batched_tokens")


def deployment(dp: int, model: str = "deepseek-ai/DeepSeek-V3", **engine: object) -> Deployment:
    found, accelerator = find_model(model), find_accelerator("H200")
    return Deployment(
        found,
        accelerator,
        find_link(accelerator.link),
        Parallelism(dp=dp, ep=dp if found.mixture else 1),
        resolve_settings(found, accelerator, dp=dp, **engine),
    )


def test_an_engine_takes_what_all_ranks_take():
    one, eight = deployment(1).settings, deployment(8).settings
    assert (one.max_num_seqs, one.max_num_batched_tokens) == (1024, 8192)
    assert (eight.max_num_seqs, eight.max_num_batched_tokens) == (8 * 1024, 8 * 8192)
    given = deployment(4, max_num_seqs=10, max_num_batched_tokens=500, num_gpu_blocks_override=9)
    assert (given.settings.max_num_seqs, given.settings.max_num_batched_tokens) == (40, 2000)
    assert given.settings.num_gpu_blocks_override == 36
    others = {name for name in vars(one) if getattr(one, name) != getattr(eight, name)}
    assert others == set(LIMITS)


@pytest.mark.parametrize("dp", [1, 2, 8])
def test_the_limits_of_a_rank_are_those_that_were_given(dp):
    chosen = {"max_num_seqs": 7, "max_num_batched_tokens": 300, "num_gpu_blocks_override": 50}
    made = deployment(dp, **chosen)
    assert vars(rank_limits(made)) == chosen
    assert {name: describe(made)[name] for name in chosen} == chosen


def test_errors_name_the_limits_of_a_rank():
    with pytest.raises(
        InputError, match=r"max_num_batched_tokens \(16\) must be at least .*\(32\)"
    ):
        deployment(4, max_num_batched_tokens=16, max_num_seqs=32)


def test_a_gpu_holds_the_activations_of_its_own_rank():
    limits = {"max_num_seqs": 64, "max_num_batched_tokens": 4096}
    assert runtime_bytes(deployment(8, **limits)) == runtime_bytes(deployment(1, **limits))


def test_every_rank_has_the_blocks_that_were_ordered_and_a_null_block():
    for dp in (1, 2, 8):
        plan = plan_memory(deployment(dp, num_gpu_blocks_override=100), 1000)
        assert plan.capacity_blocks == 99 * dp
        assert plan.kv == int(100 * 16 * plan.kv_per_token)


def test_blocks_without_experts_to_share_are_those_of_one_rank_times_the_ranks():
    model = "meta-llama/Llama-3.1-8B"
    one, four = (plan_memory(deployment(dp, model), 1000) for dp in (1, 4))
    assert replace(four, capacity_blocks=0) == replace(one, capacity_blocks=0)
    assert four.capacity_blocks == 4 * one.capacity_blocks


def test_a_result_shows_the_memory_of_one_rank_and_the_blocks_of_all():
    target = deployment(4, num_gpu_blocks_override=100)
    tokens = np.ones(1, np.int32)
    cost = derive(target, 100)
    run = simulate(target, Workload(np.zeros(1, np.int64), tokens, tokens), cost, REFERENCE)
    shown = summary(run)
    memory = shown["provenance"]["memory_per_gpu"]
    assert memory["weights"] == cost.memory.weights
    assert memory["kv_cache"] == int(100 * 16 * memory["kv_per_token"])
    assert shown["metrics"]["kv_cache"]["capacity_blocks"] == 4 * 99
    assert shown["config"]["num_gpu_blocks_override"] == 100
    assert "on each of 4 dp ranks" in facts(shown)["Engine"]
    assert facts(shown)["Memory"].endswith("KV cache on each GPU")


def test_results_say_what_the_ranks_come_to():
    notes = derive(deployment(8), 1000).notes
    assert any("one engine of 8,192 sequences and 65,536 tokens" in note for note in notes)
    assert not any("independent engines" in note for note in notes)
    assert not any("data-parallel" in note for note in derive(deployment(1), 1000).notes)


def test_ranks_of_a_model_without_experts_are_replicas():
    four = replace(deployment(4, "meta-llama/Llama-3.1-8B"), replicas=2)
    assert any("--replicas 8 with dp 1" in note for note in derive(four, 1000).notes)
