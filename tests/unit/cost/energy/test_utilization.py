"""Utilisation against figures worked out by hand, and what must hold for any work."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servetwin.catalog import count_parameters, find_accelerator, find_link, find_model
from servetwin.cost import derive, resolve_settings
from servetwin.cost.energy import Work, device_power, utilization
from servetwin.cost.energy.utilization import iteration_seconds
from servetwin.errors import InputError
from servetwin.types import Deployment, Parallelism

LLAMA = "meta-llama/Llama-3.1-8B"


def deployed(model: str = LLAMA, gpu: str = "H100-SXM", **parallel: int) -> Deployment:
    found, accelerator = find_model(model), find_accelerator(gpu)
    return Deployment(
        found,
        accelerator,
        find_link(accelerator.link),
        Parallelism(**parallel),
        resolve_settings(found, accelerator),
    )


def work(**values: float) -> Work:
    columns = {field.name: np.zeros(1) for field in fields(Work)}
    columns["seconds"] = np.ones(1)
    return Work(**{**columns, **{name: np.array([float(v)]) for name, v in values.items()}})


def test_decoding_one_sequence_reads_all_weights_each_iteration():
    deployment = deployed()
    done = work(iterations=100, decode_tokens=100, decode_context=100 * 1000)
    found = utilization(deployment, done)
    counted = count_parameters(deployment.model)
    weights = 2.0 * (counted.total - counted.embedding)
    cache = 131072 * 1000
    bytes_moved = 100 * (weights + cache)
    assert found.memory[0] == pytest.approx(bytes_moved / 3352e9, rel=0.01)
    flops = 100 * (2.0 * (counted.total - counted.embedding) + 4 * 4096 * 32 * 1000)
    assert found.compute[0] == pytest.approx(flops / 989.4e12, rel=0.01)


def test_a_prompt_is_bound_by_arithmetic():
    deployment = deployed()
    prompt = 2048
    done = work(
        iterations=1, prefill_tokens=prompt, prefill_context=prompt * (prompt + 1) / 2, prompts=1
    )
    found = utilization(deployment, replace(done, seconds=np.array([0.05])))
    counted = count_parameters(deployment.model)
    inner = counted.total - counted.embedding - counted.head
    flops = 2.0 * inner * prompt + 2.0 * counted.head + 4 * 4096 * 32 * prompt * (prompt + 1) / 2
    assert found.compute[0] == pytest.approx(flops / 989.4e12 / 0.05, rel=0.01)
    assert found.roofline[0] == found.compute[0] > found.memory[0]


@pytest.mark.parametrize("tp", [2, 4, 8])
def test_tensor_parallel_devices_share_the_traffic(tp):
    done = work(iterations=100, decode_tokens=1600, decode_context=1600 * 1000)
    whole, part = utilization(deployed(), done), utilization(deployed(tp=tp), done)
    assert part.memory[0] == pytest.approx(whole.memory[0] / tp, rel=0.05)
    assert part.compute[0] == pytest.approx(whole.compute[0] / tp, rel=0.05)


def test_pipeline_stages_take_turns():
    done = work(iterations=50, decode_tokens=800, decode_context=800 * 1000)
    whole, part = utilization(deployed(), done), utilization(deployed(pp=4), done)
    assert part.memory[0] == pytest.approx(whole.memory[0] / 4)
    assert part.compute[0] == pytest.approx(whole.compute[0] / 4)


def test_experts_that_no_token_reaches_are_not_read():
    mixture = deployed("Qwen/Qwen3-30B-A3B-Instruct-2507")
    one = utilization(mixture, work(iterations=10, decode_tokens=10)).memory[0]
    many = utilization(mixture, work(iterations=10, decode_tokens=2560)).memory[0]
    assert one < many / 4


@given(
    st.floats(0, 1e4), st.floats(0, 1e5), st.floats(1, 1e4), st.floats(1, 1e4), st.floats(1e-3, 10)
)
def test_shares_lie_between_0_and_1_and_fall_with_time(decode, prefill, count, context, seconds):
    deployment = DEPLOYMENT
    done = Work(
        seconds=np.array([seconds, 2 * seconds]),
        iterations=np.full(2, count),
        decode_tokens=np.full(2, decode),
        prefill_tokens=np.full(2, prefill),
        decode_context=np.full(2, decode * context),
        prefill_context=np.full(2, prefill * context / 2),
        prompts=np.full(2, prefill / context),
    )
    found = utilization(deployment, done)
    for share in (found.compute, found.memory):
        assert np.all((share >= 0) & (share <= 1))
        assert share[1] <= share[0]


DEPLOYMENT = deployed()


def test_no_work_uses_nothing():
    found = utilization(DEPLOYMENT, work())
    assert (found.compute[0], found.memory[0]) == (0.0, 0.0)


def test_tokens_without_an_iteration_are_a_mistake():
    with pytest.raises(ValueError, match="no iteration"):
        work(decode_tokens=3)
    with pytest.raises(ValueError, match="not negative"):
        work(iterations=-1)


def test_seconds_of_an_iteration_are_those_of_the_cost_model():
    cost = derive(DEPLOYMENT, 1000).iteration
    batch, context = 16, 900
    done = work(iterations=3, decode_tokens=3 * batch, decode_context=3 * batch * context)
    expected = cost.base + cost.linear[batch] + cost.head[batch]
    expected += batch * cost.decode_seq + cost.decode_ctx * batch * context
    assert iteration_seconds(cost, done)[0] == pytest.approx(3 * int(expected) * 1e-12)


def test_power_needs_a_limit_and_says_what_it_assumes():
    accelerator = find_accelerator("H100-SXM")
    assert device_power(accelerator).notes == ()
    with pytest.raises(InputError, match="max_watts"):
        device_power(replace(accelerator, max_watts=None))
    assumed = device_power(replace(accelerator, idle_watts=None))
    assert 0 < assumed.idle < 200
    assert "idle power is not known" in assumed.notes[0]
    assert "no power measurements of L4" in device_power(find_accelerator("L4")).notes[0]
