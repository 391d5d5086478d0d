"""With engines that fail, too, the kernel gives the reference's answer."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import accumulate, product

import numpy as np
import pytest
from hypothesis import strategies as st

from servetwin.cache.kernel import integrity
from servetwin.cache.kernel import tiers as compiled
from servetwin.cache.tiers import TIER_POLICIES, TierLimits
from servetwin.sim import kernel
from servetwin.sim.failures import LOSSES, Failures
from servetwin.sim.inputs import SimInputs
from servetwin.sim.kernel.allocation import allocate
from servetwin.sim.kernel.cluster import PAUSED
from servetwin.sim.kernel.failures import run_failing_slice
from servetwin.sim.outcome import Outcome
from servetwin.sim.stages import Stages
from servetwin.types import ROUTERS, SCHEDULERS
from support.agreement import agreed, assert_often, tell
from support.cases import Shape, sim_inputs, try_examples
from support.failures import drawn_failures
from support.outcomes import assert_same
from support.priorities import with_priorities

EXAMPLES = {"vllm": 25, "sarathi": 8}
"""For each router; only the first plans ahead."""

TIERS = st.lists(
    st.builds(
        TierLimits,
        name=st.just("tier"),
        blocks=st.integers(1, 40),
        block_ps=st.sampled_from([0, 1, 3]),
        latency_ps=st.sampled_from([0, 2, 30]),
        policy=st.sampled_from(TIER_POLICIES),
    ),
    min_size=1,
    max_size=2,
).map(tuple)


@st.composite
def failing_inputs(draw: st.DrawFn, shape: Shape, copies: str) -> SimInputs:
    """A case whose engines fail now and then; priorities, pipelines, tiers now and then."""
    inputs = draw(sim_inputs(shape))
    if shape.scheduler == "vllm" and draw(st.booleans()):
        inputs = draw(with_priorities(inputs))
    if draw(st.integers(0, 3)) == 0:
        engines, microbatches = draw(st.integers(1, 3)), draw(st.integers(1, 3))
        widths = draw(st.lists(st.integers(1, 40_000), min_size=1, max_size=4))
        inputs = replace(
            inputs,
            settings=replace(inputs.settings, async_scheduling=False),
            replicas=engines * microbatches,
            stages=Stages(engines, (0, *accumulate(widths)), draw(st.sampled_from([0, 0, 3]))),
        )
    if inputs.prefixes is not None and draw(st.booleans()):
        inputs = replace(inputs, tiers=draw(TIERS))
    if copies == "neighbour" and inputs.engines == 1:
        inputs = replace(inputs, replicas=2 * inputs.replicas, stages=_twice(inputs.stages))
    return replace(inputs, failures=draw(drawn_failures(inputs, copies)))


def _twice(stages: Stages | None) -> Stages | None:
    return None if stages is None else replace(stages, engines=2)


def count(seen: Counter[str], inputs: SimInputs, found: Outcome) -> None:
    assert found.outages is not None
    assert found.losses is not None
    assert found.retries is not None
    seen["examples"] += 1
    seen["failures"] += len(found.outages)
    for name, number in zip(LOSSES, found.losses.tolist(), strict=True):
        seen[name] += number
    assert found.prefill_outage is not None
    assert found.decode_outage is not None
    seen["prompts delayed"] += int((found.prefill_outage > 0).sum())
    seen["answers delayed"] += int((found.decode_outage > 0).sum())
    seen["begun anew"] += int((found.retries > 0).sum())
    seen["fail at once"] += len(found.outages) > len(np.unique(found.outages[:, 0]))
    seen["more than once"] += int((found.retries > 1).sum())
    seen["async"] += inputs.lag
    seen["lanes"] += inputs.replicas > inputs.engines
    seen["caching"] += inputs.prefixes is not None
    seen["by priority"] += inputs.settings.by_priority
    seen["tiers"] += bool(inputs.tiers)
    seen["closed loop"] += inputs.workload.closed_loop
    seen["preempting"] += bool(found.preemptions.any())


@pytest.mark.parametrize("copies", ["none", "host", "neighbour"])
def test_kernel_equals_reference_with_failures(
    copies: str, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: Counter[str] = Counter()

    def check(inputs: SimInputs) -> None:
        found = agreed(inputs)
        count(seen, inputs, found)

    for number, (scheduler, router) in enumerate(product(SCHEDULERS, ROUTERS)):
        shape = Shape(scheduler, router, caching=number % 2 == 0)
        inputs = failing_inputs(shape, copies)
        try_examples(check, inputs, EXAMPLES.get(scheduler, 5), number)

    tell(capsys, f"kernel == reference, copies {copies}", seen)
    assert seen["examples"] >= 200
    assert_often(seen, 0.8, "failures", "interrupted", "rerouted")
    assert_often(seen, 0.08, "async", "lanes", "caching", "tiers", "by priority")
    assert_often(seen, 0.08, "closed loop", "preempting")
    lost = ("prompts", "prompt_tokens", "output_tokens", "begun anew", "more than once")
    assert all((seen[what] == 0) == (copies == "host") for what in lost)


def without_failures(found: Outcome) -> Outcome:
    assert found.prefill_outage is not None
    assert found.decode_outage is not None
    assert not found.prefill_outage.any()
    assert not found.decode_outage.any()
    none = dict.fromkeys(("outages", "losses", "retries", "prefill_outage", "decode_outage"))
    return replace(found, **none)


def test_where_nothing_fails_nothing_differs() -> None:
    def check(inputs: SimInputs) -> None:
        never = Failures((), (), 5, 5)
        expected, found = kernel.run(inputs), kernel.run(replace(inputs, failures=never))
        assert found.outages is not None
        assert len(found.outages) == 0
        assert_same(expected, without_failures(found))

    for number, (scheduler, router) in enumerate(product(SCHEDULERS, ROUTERS)):
        shape = Shape(scheduler, router, caching=number % 2 == 0)
        try_examples(check, sim_inputs(shape), 6, number)


def test_with_copies_one_engine_only_falls_behind() -> None:
    """What arrives at once ends in the same order, later the later it ends, and never earlier."""
    seen: Counter[str] = Counter()

    def check(inputs: SimInputs) -> None:
        plan, load = inputs.failures, inputs.workload
        assert plan is not None
        if load.closed_loop or np.ptp(load.arrival) > 0:
            return
        one = replace(inputs, replicas=1, stages=None, tiers=(), snapshot_interval=0)
        one = replace(one, failures=replace(plan, engines=(0,) * len(plan.engines)))
        late, calm = kernel.run(one), kernel.run(replace(one, failures=None))
        assert late.outages is not None
        for name in ("prefill_time", "decode_time"):
            np.testing.assert_array_equal(getattr(late, name), getattr(calm, name), err_msg=name)
        for name in ("first_token", "finish"):
            order = np.argsort(getattr(calm, name), kind="stable")
            before = getattr(calm, name)[order]
            delay = getattr(late, name)[order] - before
            assert np.all(np.diff(delay, prepend=0) >= 0)
            if len(late.outages):
                assert not delay[before <= late.outages[0, 0]].any()
                seen["delayed"] += bool(delay.any())

    for number, scheduler in enumerate(SCHEDULERS):
        shape = Shape(scheduler, "round-robin", caching=number % 2 == 0)
        try_examples(check, failing_inputs(shape, "host"), 25, number)
    assert seen["delayed"] >= 20


@pytest.mark.parametrize("scheduler", ["vllm", "sarathi", "static"])
def test_the_kernels_caches_are_sound_after_every_event(scheduler: str) -> None:
    def check(inputs: SimInputs) -> None:
        if inputs.prefixes is None:
            return
        state = allocate(replace(inputs, snapshot_interval=0))
        while run_failing_slice(state, 1) == PAUSED:
            integrity.check_integrity(state.caches.pool)
            compiled.check_integrity(state.caches.tiers)
        assert np.all(state.caches.pool.cache["available"] == state.caches.pool.cache["capacity"])
        assert not state.outstanding.any()
        assert not state.outstanding_tokens.any()

    shape = Shape(scheduler, "cache-aware", caching=True)
    try_examples(check, failing_inputs(shape, "none"), 15, 0)
