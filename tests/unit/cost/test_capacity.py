"""Blocks of models whose tokens take fewer bytes in a long sequence."""

from __future__ import annotations

import functools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from servetwin.catalog import find_accelerator, find_link, find_model
from servetwin.cost import derive, lower_max_model_len, plan_memory, resolve_settings
from servetwin.cost.capacity import capacity_context
from servetwin.sim.inputs import prepare
from servetwin.types import CostModel, Deployment, Workload

UNEVEN = (
    ("google/gemma-3-27b-it", "A100-80GB"),
    ("google/gemma-3-12b-pt", "A100-40GB"),
    ("Qwen/Qwen3-Next-80B-A3B-Instruct", "B200"),
    ("openai/gpt-oss-20b", "L4"),
)


@functools.cache
def deployment(model: str, gpu: str, **engine: object) -> Deployment:
    found, accelerator = find_model(model), find_accelerator(gpu)
    made = Deployment(
        found,
        accelerator,
        find_link(accelerator.link),
        settings=resolve_settings(found, accelerator, **engine),
    )
    return lower_max_model_len(made)[0]


def accepted(target: Deployment, cost: CostModel, lengths: list[int]) -> list[bool]:
    """Which requests of these total lengths the simulator does not reject."""
    tokens = np.array(lengths, dtype=np.int32)
    workload = Workload(np.zeros(len(lengths), np.int64), tokens - 1, np.ones_like(tokens))
    inputs = prepare(target, workload, cost)
    return [inputs.fits(length - 1, 1) for length in lengths]


def test_a_long_request_among_short_ones_is_not_rejected_for_their_sake():
    target = deployment("google/gemma-3-27b-it", "A100-80GB")
    lengths = np.array([300] * 99 + [60_000])
    alone = derive(target, 300)
    assert accepted(target, alone, [60_000]) == [False]
    raised = derive(target, 300, lengths)
    assert accepted(target, raised, [60_000, target.settings.max_model_len + 1]) == [True, False]
    # No more blocks than the longest needs: 59,999 stored tokens.
    assert 3750 <= raised.memory.capacity_blocks <= 3755
    before, after = alone.memory.capacity_blocks, raised.memory.capacity_blocks
    (note,) = (note for note in raised.notes if "longest request fits" in note)
    assert f"the {after:,} KV blocks" in note
    assert f"at the typical 300 tokens there would be {before:,}" in note
    assert not any("is rejected" in note for note in raised.notes)


def test_blocks_stay_those_of_the_typical_context_where_everything_fits():
    target = deployment("google/gemma-3-27b-it", "A100-80GB")
    lengths = np.array([300, 20_000, 10**6])  # the last is longer than any context
    assert derive(target, 300, lengths).memory == derive(target, 300).memory
    assert not any("KV blocks" in note for note in derive(target, 300, lengths).notes)


def test_models_with_one_kind_of_cache_count_their_blocks_anywhere():
    target = deployment("meta-llama/Llama-3.1-8B", "A10")
    assert capacity_context(target, 300, np.array([10**5])) == 300


@settings(max_examples=60)
@given(
    st.sampled_from(UNEVEN),
    st.sampled_from(["vllm", "slots", "orca"]),
    st.integers(1, 5_000),
    st.lists(st.integers(2, 300_000), min_size=1, max_size=5),
)
def test_no_request_is_rejected_that_fits_where_blocks_are_counted_at_its_length(
    which, scheduler, typical, lengths
):
    target = deployment(*which, scheduler=scheduler)
    most = target.settings.max_model_len
    cost = derive(target, min(typical, most), np.array(lengths))
    for length, runs in zip(lengths, accepted(target, cost, lengths), strict=True):
        own = accepted(target, derive(target, min(length, most)), [length])[0]
        assert runs or not own, f"{length} tokens are rejected, which fit alone"
        assert length <= most or not runs


@settings(max_examples=30)
@given(st.sampled_from(UNEVEN), st.integers(1, 5_000), st.integers(2, 100_000))
def test_the_context_is_the_shortest_that_will_do(which, typical, length):
    target = deployment(*which)
    context = capacity_context(target, typical, np.array([length]))
    assert context >= typical
    if context > typical:
        blocks = plan_memory(target, context - 1).capacity_blocks
        assert blocks < -(-(length - 1) // 16) <= plan_memory(target, context).capacity_blocks
