"""Scaled costs: every iteration longer by one factor, whatever it consists of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from servetwin.cost.scaling import SCALARS, scaled
from servetwin.types import CostModel, IterationCost, MemoryPlan
from servetwin.types.attention import AttentionTables

ONE = IterationCost(
    base=1000,
    linear=np.array([0, 10, 20], dtype=np.int64),
    linear_slope=11,
    head=np.array([0, 7, 9], dtype=np.int64),
    head_slope=3,
    decode_seq=5,
    decode_ctx=2,
    prefill_chunk=13,
    prefill_attn=100,
    window=64,
    decode_window_ctx=-1,
    prefill_window_attn=-50,
    speculation=np.array([0, -4, 6], dtype=np.int64),
)
COST = CostModel(ONE, MemoryPlan(1, 1, 1.0, 1, 100))


def test_every_coefficient_is_scaled_and_nothing_else() -> None:
    twice = scaled(COST, 2.0)
    for name in SCALARS:
        assert getattr(twice.iteration, name) == 2 * getattr(ONE, name), name
    assert twice.iteration.linear.tolist() == [0, 20, 40]
    assert twice.iteration.head.tolist() == [0, 14, 18]
    assert twice.iteration.speculation is not None
    assert twice.iteration.speculation.tolist() == [0, -8, 12]
    assert twice.iteration.window == 64
    assert twice.memory == COST.memory
    kept = {"window", "attention", "linear", "head", "speculation"}
    assert {*SCALARS, *kept} == set(IterationCost.__dataclass_fields__)


def test_tables_of_attention_keep_their_knots() -> None:
    knots = np.array([0, 8], dtype=np.int64)
    tables = AttentionTables(
        contexts=knots,
        offset=np.array([[0, 0], [4, 6]], dtype=np.int64),
        slope=np.array([[0, 0], [2, 2]], dtype=np.int64),
        chunks=knots,
        depths=knots,
        decodes=knots,
        joint=np.arange(16, dtype=np.int64).reshape(2, 2, 2, 2),
    )
    half = scaled(replace(COST, iteration=replace(ONE, attention=tables)), 1.5).iteration.attention
    assert half is not None
    assert half.contexts.tolist() == knots.tolist()
    assert half.decode(1, 9) == 1.5 * tables.decode(1, 9)
    assert half.joint.tolist() == np.rint(tables.joint * 1.5).astype(int).tolist()


def test_a_factor_of_one_changes_nothing() -> None:
    same = scaled(COST, 1.0).iteration
    assert same.linear.tolist() == ONE.linear.tolist()
    assert all(getattr(same, name) == getattr(ONE, name) for name in SCALARS)


@pytest.mark.parametrize("factor", [0.0, -1.0])
def test_time_does_not_vanish(factor: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        scaled(COST, factor)
