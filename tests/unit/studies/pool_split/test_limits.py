"""What limits a layout: every picosecond counted once, and rejected requests beside late ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike

from servetwin.catalog import find_link
from servetwin.cost import derive
from servetwin.results import parse_slo
from servetwin.sim import SimOptions, simulate
from servetwin.studies.fidelity.points import deploy, in_pools
from servetwin.studies.pool_split import limits
from servetwin.studies.pool_split.limits import Limit, limit_of
from servetwin.types import RequestTable, Status
from servetwin.units import NOT_YET, PS_PER_S
from servetwin.workload import parse_arrivals
from servetwin.workload.generate import GeneratorSpec, generate
from servetwin.workload.lengths import Uniform

SPANS = {
    "ttft": ("arrival", "first_token"),
    "tpot": ("first_token", "finish"),
    "e2e": ("arrival", "finish"),
}


def seconds(values: ArrayLike) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return (np.asarray(values, float) * PS_PER_S).astype(np.int64)


def preempted_run(two_pools: bool) -> RequestTable:
    """So few KV blocks that requests are preempted again and again."""
    one = deploy("meta-llama/Llama-3.1-8B", "A100-80GB", max_model_len=2048)
    one = replace(one, settings=replace(one.settings, num_gpu_blocks_override=300))
    deployment = in_pools(one, one, find_link("InfiniBand-NDR")) if two_pools else one
    spec = GeneratorSpec(
        200, Uniform(100, 1000), Uniform(100, 900), parse_arrivals("poisson", 8.0), seed=5
    )
    options = SimOptions(snapshot_interval=0, token_gaps=False)
    table = simulate(deployment, generate(spec), derive(deployment, 1000), options).requests
    assert np.count_nonzero(table.preemptions) > 20
    return table


@pytest.mark.parametrize("two_pools", [False, True], ids=["one pool", "two pools"])
def test_preemption_is_counted_once(two_pools: bool) -> None:
    rows = preempted_run(two_pools)
    every = np.ones(len(rows), bool)
    for metric, (start, end) in SPANS.items():
        parts = limits._parts(rows, metric, every)
        span = getattr(rows, end) - getattr(rows, start)
        assert sum(parts.values()) == pytest.approx(float(span.mean()), rel=1e-12)
        assert min(parts.values()) >= 0
    assert rows.preempted_time is not None
    assert parts["preemption"] == pytest.approx(float(rows.preempted_time.mean()))


def by_hand(**columns: ArrayLike) -> RequestTable:
    """Requests that arrive at 0, are planned at 1 s, answer at 4 s and end at 10 s."""
    times = {"arrival": 0, "first_scheduled": 1, "first_token": 4, "finish": 10, **columns}
    count = max(np.size(values) for values in times.values())
    wide: dict[str, Any] = {
        name: np.broadcast_to(seconds(values), count) for name, values in times.items()
    }
    number = np.full(count, 7, np.int32)
    zero = np.zeros(count, np.int32)
    return RequestTable(
        **wide,
        input_tokens=number,
        output_tokens=number,
        preemptions=zero,
        replica=zero,
        status=np.zeros(count, np.int8),
    )


def test_preemption_before_the_first_token_is_not_taken_from_what_follows() -> None:
    """Of 3 s before the first token 2 are preemption, 1 its own prompt; then all is decoding."""
    table = by_hand(prefill_time=1, decode_time=6, preempted_time=2)
    limit = limit_of(table, parse_slo("e2e=1s"))
    assert limit.parts == pytest.approx(
        {"queue": 0.1, "own_prefill": 0.1, "preemption": 0.2, "decode": 0.6}
    )
    assert limit_of(table, parse_slo("ttft=1s")).parts == pytest.approx(
        {"queue": 1 / 4, "own_prefill": 1 / 4, "preemption": 2 / 4}
    )
    assert limit_of(table, parse_slo("tpot=1ms")).parts == {"decode": 1.0}


def test_the_front_end_is_no_queue() -> None:
    table = by_hand(frontend_time=0.75, prefill_time=3, decode_time=6)
    assert limit_of(table, parse_slo("ttft=1s")).parts == pytest.approx(
        {"frontend": 0.75 / 4, "queue": 0.25 / 4, "own_prefill": 3 / 4}
    )


def test_preemption_after_the_first_token_is_not_taken_from_what_was_before() -> None:
    table = by_hand(prefill_time=1, decode_time=2, preempted_time=3)
    assert limit_of(table, parse_slo("e2e=1s")).parts == pytest.approx(
        {"queue": 0.1, "own_prefill": 0.1, "others_prefill": 0.3, "preemption": 0.3, "decode": 0.2}
    )
    assert limit_of(table, parse_slo("tpot=1ms")).cause == "preemption"
    assert "preemption" not in limit_of(table, parse_slo("ttft=1s")).parts


def rejecting(rejected: int, late: int, met: int) -> RequestTable:
    count = rejected + late + met
    first = np.repeat([4.0, 0.5], [rejected + late, met])
    table = by_hand(first_scheduled=np.minimum(first, 3), first_token=first, prefill_time=0.25)
    refused = np.arange(count) < rejected
    unknown = {
        name: np.where(refused, NOT_YET, getattr(table, name))
        for name in ("first_scheduled", "first_token", "finish")
    }
    status = np.where(refused, Status.REJECTED, Status.OK).astype(np.int8)
    return replace(table, **unknown, status=status)


@pytest.mark.parametrize(
    ("rejected", "late", "cause"),
    [(99, 1, "rejected"), (1, 99, "queue"), (5, 0, "rejected"), (50, 50, "queue"), (0, 0, "")],
)
def test_the_cause_is_that_of_most_that_miss(rejected: int, late: int, cause: str) -> None:
    limit = limit_of(rejecting(rejected, late, met=20), parse_slo("ttft=1s"))
    assert limit.cause == cause
    assert limit.rejected == pytest.approx(rejected / max(rejected + late, 1))
    assert sum(limit.parts.values()) == pytest.approx(1.0 if late else 0.0)
    shares = {"rejected": limit.rejected, "queue": 0.75, "": 0.0}
    assert limit.share == pytest.approx(shares[cause])


def test_few_rejections_do_not_hide_what_the_others_wait_for() -> None:
    assert Limit("ttft", {"queue": 0.4, "own_prefill": 0.6}, rejected=0.45).cause == "own_prefill"
