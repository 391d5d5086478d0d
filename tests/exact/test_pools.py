"""With a prefill pool and a decode pool, too, the kernel gives the reference's answer."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from servetwin.cache.kernel import integrity, tiers
from servetwin.sim import kernel, reference
from servetwin.sim.inputs import SimInputs
from servetwin.sim.kernel.cluster import PAUSED
from servetwin.sim.kernel.pools import run_pools_slice
from servetwin.sim.kernel.pools_driver import allocate_pools
from servetwin.sim.kernel.state import FOREVER
from servetwin.sim.outcome import Outcome
from servetwin.types import ROUTERS, SCHEDULERS, Status
from support.agreement import assert_often, tell
from support.cases import Shape, try_examples
from support.outcomes import assert_same
from support.pools import Pair, assert_pools_conserve, counted_back_pressure, pooled_inputs

EXAMPLES = {"vllm": 8, "sarathi": 5, "orca": 4, "slots": 4, "static": 3, "single": 3}
"""For each scheduler of the prefill pool and router, by the scheduler of the decode pool."""


def count(seen: Counter[str], inputs: SimInputs, outcome: Outcome) -> None:
    decode = inputs.decode
    assert decode is not None
    assert outcome.prefill_replica is not None
    seen["examples"] += 1
    seen["closed loop"] += inputs.workload.closed_loop
    seen["able to preempt"] += decode.engine.settings.scheduler in ("vllm", "sarathi")
    seen["preempting"] += bool(outcome.preemptions.any())
    seen["rejecting"] += bool((outcome.status == Status.REJECTED).any())
    seen["caching prompts"] += inputs.prefixes is not None
    seen["caching in the decode pool"] += decode.engine.prefixes is not None
    seen["tiers"] += bool(inputs.tiers or decode.engine.tiers)
    seen["tiers that load"] += any(tier.loaded for tier in outcome.tiers)
    seen["layer-wise"] += bool(decode.link.layers)
    seen["requests handed over"] += int(np.sum(outcome.replica != outcome.prefill_replica))


def test_kernel_equals_reference_with_pools(capsys: pytest.CaptureFixture[str]) -> None:
    seen: Counter[str] = Counter()

    def check(inputs: SimInputs) -> None:
        held = Counter[str]()
        with counted_back_pressure(held):
            expected = reference.run(inputs, check=True)
        found = kernel.run(inputs)
        assert_same(expected, found)
        assert_pools_conserve(inputs, found)
        count(seen, inputs, found)
        seen["under back-pressure"] += held["held up"] > 0

    cases = product(SCHEDULERS, SCHEDULERS, ROUTERS)
    for number, (prefill, decode, router) in enumerate(cases):
        turn = number + number // len(ROUTERS)  # so that everything meets everything
        other = ROUTERS[turn % len(ROUTERS)]
        pair = Pair(Shape(prefill, other), Shape(decode, router), caching=turn % 3 > 0)
        try_examples(check, pooled_inputs(pair), EXAMPLES[decode], number)

    tell(capsys, "kernel == reference with pools", seen)
    assert seen["examples"] >= 900
    assert_often(seen, 0.3, "under back-pressure")
    assert seen["preempting"] >= 0.25 * seen["able to preempt"]
    for what in ("closed loop", "caching in the decode pool", "rejecting"):
        assert seen[what] >= 40, what
    # A fifth of those with tiers, give or take the draw.
    assert seen["tiers that load"] >= 30


@pytest.mark.parametrize("scheduler", ["vllm", "orca", "slots"])
def test_both_pools_of_the_kernel_are_sound_after_every_event(scheduler: str) -> None:
    pair = Pair(Shape("vllm", "cache-aware"), Shape(scheduler, "cache-aware"), caching=True)

    def check(inputs: SimInputs) -> None:
        assert inputs.decode is not None
        states = allocate_pools(inputs, inputs.decode)
        for state in states:
            state.world["snapshot_limit"] = FOREVER
            state.settings["interval"] = 0
        while run_pools_slice(*states, 1) == PAUSED:
            for state in states:
                integrity.check_integrity(state.caches.pool)
                tiers.check_integrity(state.caches.tiers)
        for state in states:
            pool = state.caches.pool
            assert np.all(pool.cache["available"] == pool.cache["capacity"])
            assert np.all(state.replica["free"] == state.settings[0]["capacity"])
            assert state.gate[0]["loads"] == 0
            assert not state.replica["loading"].any()
        assert not states[0].bridge.held.any()
        assert states[0].bridge.link[0]["leaving"] == 0

    try_examples(check, pooled_inputs(pair), 20, 0)


def test_a_prefill_pool_with_room_computes_prompts_as_if_it_were_alone() -> None:
    compared = Counter[str]()

    def check(inputs: SimInputs) -> None:
        roomy = replace(inputs, capacity_blocks=100_000, max_total_tokens=1_000_000)
        found = kernel.run(roomy)
        if inputs.workload.closed_loop or np.any(found.status == Status.REJECTED):
            return
        firsts = replace(inputs.workload, output_tokens=np.ones_like(inputs.workload.output_tokens))
        alone = kernel.run(replace(roomy, workload=firsts, decode=None))
        np.testing.assert_array_equal(found.first_scheduled, alone.first_scheduled)
        np.testing.assert_array_equal(found.first_token, alone.first_token)
        np.testing.assert_array_equal(found.prefill_replica, alone.replica)
        compared["runs"] += 1

    for number, scheduler in enumerate(SCHEDULERS):
        pair = Pair(Shape(scheduler, "cache-aware"), Shape("vllm", "random"), caching=True)
        try_examples(check, pooled_inputs(pair), 15, number)
    assert compared["runs"] >= 40
