"""Deployments that cannot run say why, and what would."""

from __future__ import annotations

from dataclasses import replace

import pytest

from servetwin.catalog import find_accelerator, find_link, find_model
from servetwin.cost import (
    check_deployment,
    check_fits,
    lower_max_model_len,
    plan_memory,
    resolve_settings,
)
from servetwin.errors import InputError
from servetwin.types import Deployment, Parallelism


def deployment(
    model: str, gpu: str, parallel: Parallelism | None = None, **engine: object
) -> Deployment:
    found, accelerator = find_model(model), find_accelerator(gpu)
    return Deployment(
        found,
        accelerator,
        find_link(accelerator.link),
        parallel or Parallelism(),
        resolve_settings(found, accelerator, **engine),
    )


def test_a_model_that_fits_passes():
    check_deployment(deployment("meta-llama/Llama-3.1-8B", "A100-80GB"))
    check_deployment(deployment("meta-llama/Llama-3.1-70B", "H100-SXM", Parallelism(tp=4)))


def test_weights_too_large_say_how_many_gpus_would_do():
    with pytest.raises(InputError) as caught:
        check_fits(deployment("meta-llama/Llama-3.1-70B", "A100-80GB", max_model_len=8192))
    message = str(caught.value)
    assert "need 14" in message
    assert "76.7 GB are available" in message
    assert message.endswith("4 GPUs would do (tp 4)") or message.endswith("2 GPUs would do (tp 2)")
    tp = int(message.split("(tp ")[1].rstrip(")"))
    fits = deployment(
        "meta-llama/Llama-3.1-70B", "A100-80GB", Parallelism(tp=tp), max_model_len=8192
    )
    check_fits(fits)
    half = replace(fits, parallelism=Parallelism(tp=tp // 2))
    with pytest.raises(InputError):
        check_fits(half)


def test_a_length_the_user_chose_must_fit():
    with pytest.raises(InputError, match=r"one sequence of max-model-len 131072 .* GPUs would do"):
        check_fits(deployment("meta-llama/Llama-3.1-8B", "RTX-4090", max_model_len=131072))


def test_a_length_nobody_chose_is_lowered_to_what_fits():
    wanted = deployment("meta-llama/Llama-3.1-8B", "RTX-4090")
    lowered, note = lower_max_model_len(wanted)
    length = lowered.settings.max_model_len
    assert str(length) in note
    blocks = plan_memory(lowered, length).capacity_blocks
    assert blocks * 16 >= length > (blocks - 1) * 16
    check_deployment(lowered)
    assert lower_max_model_len(lowered) == (lowered, "")


def test_lowering_does_not_hide_weights_that_do_not_fit():
    with pytest.raises(InputError, match="GPUs would do"):
        lower_max_model_len(deployment("meta-llama/Llama-3.1-70B", "A10"))


def test_nothing_helps_a_model_that_no_tp_can_hold():
    with pytest.raises(InputError, match="no tp up to 64 would do"):
        check_fits(deployment("bigscience/bloom", "T4", gpu_memory_utilization=0.15))


@pytest.mark.parametrize(
    ("model", "parallel", "message"),
    [
        ("meta-llama/Llama-3.1-8B", Parallelism(tp=3), "tp can be 1, 2, 4, 8, 16, 32"),
        ("microsoft/phi-4", Parallelism(tp=4), "tp 4 does not divide"),
        ("meta-llama/Llama-3.1-8B", Parallelism(pp=33), "32 layers"),
        ("meta-llama/Llama-3.1-8B", Parallelism(tp=2, ep=2), "has no experts"),
        ("mistralai/Mixtral-8x7B-v0.1", Parallelism(tp=16, ep=16), "8 experts"),
        ("mistralai/Mixtral-8x7B-v0.1", Parallelism(tp=2, ep=4), "ep 2"),
    ],
)
def test_impossible_divisions(model, parallel, message):
    with pytest.raises(InputError, match=message):
        check_deployment(deployment(model, "H100-SXM", parallel))


def test_a_length_beyond_the_context_is_refused():
    with pytest.raises(InputError, match="at most 131072"):
        check_deployment(deployment("meta-llama/Llama-3.1-8B", "H100-SXM", max_model_len=200_000))
