"""Which operations are timed, at which sizes, and what cannot be."""

from __future__ import annotations

import pytest

from servetwin.calibrate.profiler import Limits, plan_profile
from servetwin.calibrate.profiler.plan import Plan
from servetwin.catalog import find_model
from servetwin.errors import InputError
from servetwin.units import GIB

PLENTY = Limits(4.0 * GIB)


def plan(model: str = "gpt2", tp: int = 1, limits: Limits = PLENTY) -> Plan:
    return plan_profile(find_model(model), tp, 2, limits)


def layers(found: Plan, table: str) -> set[str]:
    return {point.layer for point in found.points if point.table == table}


def test_every_operation_once_at_each_size() -> None:
    found = plan()
    assert len(set(found.points)) == len(found.points)
    assert layers(found, "per_sequence") == {"lm_head", "sampler", "host"}
    assert {"qkv_proj", "o_proj", "gate_up_proj", "down_proj"} < layers(found, "dense")
    assert found.left_out == ()


def test_rotary_only_where_the_model_has_no_table_of_positions() -> None:
    assert "rotary_emb" not in layers(plan("gpt2"), "dense")
    assert "rotary_emb" in layers(plan("SmolLM2-135M"), "dense")


def test_quick_is_a_small_part_and_says_what_it_leaves_out() -> None:
    quick = plan(limits=Limits(4.0 * GIB, quick=True))
    assert len(quick.points) < len(plan().points) / 2
    assert quick.left_out == ("prefill and decode attention in one iteration: --quick",)
    large = plan(limits=Limits(80.0 * GIB, large=True))
    assert len(large.points) > len(plan().points)


def test_attention_is_a_full_grid_of_powers_of_two() -> None:
    for limits in (PLENTY, Limits(4.0 * GIB, quick=True), Limits(80.0 * GIB, large=True)):
        points = [p.sizes for p in plan("SmolLM2-135M", 1, limits).points if p.table == "attention"]
        assert all(size & (size - 1) == 0 for sizes in points for size in sizes)
        for chosen, free in (((0, 1), (2, 3)), ((2, 3), (0, 1))):
            alone = {tuple(sizes[i] for i in chosen) for sizes in points if not sizes[free[0]]} - {
                (0, 0)
            }
            axes = [{pair[i] for pair in alone} for i in range(2)]
            assert len(alone) == len(axes[0]) * len(axes[1])


def test_little_memory_means_smaller_shapes_and_is_said() -> None:
    found = plan("Llama-3.1-8B", 1, Limits(2.0 * GIB))
    assert any("memory" in words for words in found.left_out)
    shapes = found.shapes
    for point in found.points:
        if point.table == "attention":
            assert shapes.kv_bytes(point.sizes[2] * point.sizes[3]) <= 2.0 * GIB
    with pytest.raises(InputError, match=r"its largest matrix needs 1\.5 GiB"):
        plan("Llama-3.1-8B", 1, Limits(0.5 * GIB))


def test_shapes_are_those_of_one_device() -> None:
    whole, half = (plan("Llama-3.1-8B", tp).shapes for tp in (1, 2))
    assert half.gemms["gate_up_proj"].n == whole.gemms["gate_up_proj"].n / 2 == 14336
    assert half.gemms["down_proj"].k == 7168
    assert half.kv_bytes(1) == whole.kv_bytes(1) / 2 == 2 * 4 * 128 * 2


def test_collectives_need_a_group_of_processes() -> None:
    alone = plan("Llama-3.1-8B", 2)
    assert any(words.startswith("collectives: 2 processes") for words in alone.left_out)
    together = plan("Llama-3.1-8B", 2, Limits(4.0 * GIB, collectives=True))
    assert together.points[0].layer == "all_reduce"
    assert together.left_out == ()


@pytest.mark.parametrize(
    ("model", "tp", "message"),
    [
        ("Mixtral-8x7B", 1, "experts cannot be profiled yet"),
        ("DeepSeek-V3", 1, "latent layers"),
        ("Llama-3.1-8B", 3, "--tp 3: must divide the 32 heads"),
    ],
)
def test_what_cannot_be_profiled(model: str, tp: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        plan(model, tp)
