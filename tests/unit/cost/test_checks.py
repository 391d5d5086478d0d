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
from servetwin.cost.checks import tp_choices
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
    assert "weights (141.1 GB) + runtime (1.5 GB) exceed the 76.7 GB available" in message
    assert message.endswith("2 GPUs would do (tp 2)")


def runs_up_to(target: Deployment, tp: int) -> int:
    """Longest sequence that a run of nobody's max-model-len simulates; 0 where it is refused."""
    try:
        lowered, _ = lower_max_model_len(
            replace(target, parallelism=replace(target.parallelism, tp=tp))
        )
        check_deployment(lowered)
    except InputError:
        return 0
    return lowered.settings.max_model_len


@pytest.mark.parametrize("length", [None, 12_000, 2_000])
@pytest.mark.parametrize(
    ("model", "gpu", "layout"),
    [
        ("meta-llama/Llama-3.1-70B", "A100-80GB", Parallelism()),
        ("meta-llama/Llama-3.1-70B", "L4", Parallelism(pp=2)),
        ("meta-llama/Llama-3.1-8B", "RTX-3080", Parallelism()),
        ("Qwen/Qwen2.5-14B", "A10", Parallelism()),
        ("microsoft/phi-4", "RTX-3080", Parallelism(tp=2)),
        ("google/gemma-3-27b-it", "RTX-4090", Parallelism()),
        ("mistralai/Mixtral-8x7B-v0.1", "A10", Parallelism(tp=4, ep=4)),
        ("deepseek-ai/DeepSeek-V3", "H100-SXM", Parallelism(dp=8, ep=8)),
    ],
)
def test_the_gpus_that_would_do_are_the_fewest_that_a_run_accepts(model, gpu, layout, length):
    """What the message promises is tried, tp by tp."""
    target = deployment(model, gpu, layout, max_model_len=length)
    wanted, as_it_is = target.settings.max_model_len, runs_up_to(target, layout.tp)
    with pytest.raises(InputError) as caught:
        check_fits(target)
    wider = {tp: runs_up_to(target, tp) for tp in tp_choices(target.model) if tp > layout.tp}
    whole = min(tp for tp, most in wider.items() if most == wanted)
    first = whole if as_it_is else min(tp for tp, most in wider.items() if most)
    each = layout.pp * layout.dp
    expected = f"{first * each} GPUs would do (tp {first})"
    if first != whole:
        expected += f" with max-model-len up to {wider[first]}; {whole * each} (tp {whole})"
        expected += f" for {wanted}"
    assert str(caught.value).endswith(f"; {expected}")


def test_replicas_count_among_the_gpus_that_would_do():
    two = replace(
        deployment("meta-llama/Llama-3.1-70B", "H100-SXM", max_model_len=8192), replicas=2
    )
    with pytest.raises(InputError, match=r"4 GPUs would do \(tp 2\)"):
        check_fits(two)


def test_blocks_that_were_ordered_are_not_blamed_on_the_memory():
    few = {"num_gpu_blocks_override": 100}
    with pytest.raises(
        InputError, match=r"100 holds sequences of at most 1584 .* max-model-len 4000"
    ):
        check_fits(deployment("openai-community/gpt2-xl", "A10", **few, max_model_len=4000))
    with pytest.raises(InputError, match=r"does not fit .* 2 GPUs would do"):
        lower_max_model_len(deployment("meta-llama/Llama-3.1-70B", "A100-80GB", **few))


def test_limits_that_take_the_memory_are_named():
    many = deployment("meta-llama/Llama-3.1-8B", "A100-80GB", scheduler="slots", max_num_seqs=10**5)
    with pytest.raises(InputError, match=r"runtime \(129\.2 GB\) .* smaller .* max-num-seqs"):
        lower_max_model_len(many)
    none = deployment("bigscience/bloom", "T4", gpu_memory_utilization=0.15)
    with pytest.raises(InputError, match=r"no tp up to 64 would do$"):
        check_fits(none)


def test_a_block_too_large_for_what_the_weights_leave_is_counted():
    large = deployment("meta-llama/Llama-3.1-8B", "RTX-4090", block_size=65_536)
    with pytest.raises(InputError, match=r"two KV blocks \(17\.2 GB\) exceed the 22\.7 GB"):
        lower_max_model_len(large)


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
