"""Replicas of two kinds, worked out by hand: iterations last 100 ps on one, 200 ps on the other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from servetwin.cache.tiers import TierLimits
from servetwin.errors import InputError
from servetwin.sim.failures import Failures
from servetwin.sim.groups import EngineGroup, groups_of, joined
from servetwin.sim.inputs import SimInputs
from servetwin.sim.stages import Stages
from servetwin.types import ROUTERS, EngineSettings, Status, Workload
from support.hand import FLAT, Run

SLOW = replace(FLAT, base=200)


def two_kinds(*requests: tuple[int, int, int], router: str = "round-robin") -> SimInputs:
    """One fast replica of 10 blocks, one slow of 2; requests of (arrival, input, output)."""
    arrival, inputs, outputs = (np.array(column) for column in zip(*requests, strict=True))
    workload = Workload(
        arrival.astype(np.int64),
        inputs.astype(np.int32),
        outputs.astype(np.int32),
        name="hand",
        source="hand",
    )
    return SimInputs(
        workload=workload,
        settings=EngineSettings(async_scheduling=False, block_size=10),
        cost=FLAT,
        capacity_blocks=10,
        max_total_tokens=1000,
        replicas=2,
        router=router,
        seed=0,
        snapshot_interval=0,
        token_gaps=True,
        also=(EngineGroup(SLOW, 2, 1000, 1),),
    )


def test_each_kind_has_its_own_pace(run: Run) -> None:
    found = run(two_kinds((0, 5, 3), (0, 5, 3)))
    assert found.replica.tolist() == [0, 1]
    assert found.finish.tolist() == [300, 600]
    assert (found.peak_blocks, *found.also_peak_blocks) == (1, 1)


@pytest.mark.parametrize("router", ROUTERS)
def test_what_only_one_kind_holds_goes_there(run: Run, router: str) -> None:
    """30 tokens take three blocks; the slow replica has two."""
    found = run(two_kinds(*[(0, 30, 1)] * 4, router=router))
    assert found.replica.tolist() == [0] * 4
    assert found.also_peak_blocks == (0,)


def test_a_turn_of_who_cannot_hold_it_is_skipped(run: Run) -> None:
    """Round-robin goes on behind the replica that it chose."""
    found = run(two_kinds((0, 5, 1), (1, 30, 1), (2, 5, 1), (3, 5, 1)))
    assert found.replica.tolist() == [0, 0, 1, 0]


def test_what_no_kind_holds_is_rejected(run: Run) -> None:
    found = run(two_kinds((0, 200, 1), (0, 5, 1)))
    assert found.status.tolist() == [Status.REJECTED, Status.OK]
    assert found.replica.tolist() == [-1, 0]


def test_a_limit_of_tokens_is_of_a_kind_too(run: Run) -> None:
    inputs = two_kinds((0, 15, 1), (0, 15, 1))
    tight = replace(inputs, also=(replace(inputs.also[0], max_total_tokens=15),))
    assert run(inputs).replica.tolist() == [0, 1]
    assert run(tight).replica.tolist() == [0, 0]


def test_groups_are_taken_apart_and_put_together() -> None:
    inputs = replace(two_kinds((0, 5, 1)), replicas=5)
    groups = groups_of(inputs)
    assert [group.replicas for group in groups] == [4, 1]
    assert [group.capacity_blocks for group in groups] == [10, 2]
    assert joined(groups) == inputs


def test_kinds_with_unlike_tiers_are_refused() -> None:
    one, other = groups_of(two_kinds((0, 5, 1)))
    with pytest.raises(InputError, match="KV blocks of equal bytes"):
        joined([one, replace(other, tiers=(TierLimits("host", 4, 1, 1),))])


def test_an_engine_comes_back_as_its_kind_does(run: Run) -> None:
    """Both fail 50 ps into their first iteration; the second kind restarts four times as slowly."""
    inputs = two_kinds((0, 5, 1), (0, 5, 1))
    plan = Failures((50, 50), (0, 1), detect=10, restart=20, reroute=False)
    slow = (replace(inputs.also[0], restart=80),)
    found = run(replace(inputs, failures=plan, also=slow))
    assert found.outages is not None
    assert found.outages.tolist() == [[50, 0, 80], [50, 1, 140]]
    assert found.finish.tolist() == [180, 340]


def test_nobody_is_sent_where_it_could_never_run(run: Run) -> None:
    """The long request waits for the only engine that holds it, the short one goes elsewhere."""
    inputs = two_kinds((0, 30, 1), (1, 5, 1), (2, 30, 1), (3, 30, 1), (4, 5, 1))
    plan = Failures((50,), (0,), detect=10, restart=1000)
    found = run(replace(inputs, failures=plan))
    assert found.replica.tolist() == [0, 1, 0, 0, 1]
    assert found.finish[4] < 1000 < found.finish[0]


def test_what_is_not_simulated_with_kinds_is_refused() -> None:
    with pytest.raises(InputError, match="not simulated yet"):
        replace(two_kinds((0, 5, 1)), stages=Stages(2, (0, 1 << 16)))
    one, other = groups_of(two_kinds((0, 5, 1)))
    with pytest.raises(InputError, match="not simulated yet with microbatches"):
        joined([one, replace(other, stages=Stages(1, (0, 1 << 16)))])
