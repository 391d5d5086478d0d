"""With replicas of several kinds, too, the kernel gives the answer of the reference."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import strategies as st

from servetwin.cache import ENGINE_POLICIES
from servetwin.cache.tiers import TierLimits
from servetwin.sim import kernel
from servetwin.sim.failures import LOSSES
from servetwin.sim.inputs import SimInputs
from servetwin.sim.outcome import Outcome
from servetwin.types import ROUTERS, SCHEDULERS, Status
from support.agreement import agreed, assert_often, tell
from support.cases import Shape, sim_inputs, try_examples
from support.failures import drawn_failures
from support.groups import grouped, grouped_inputs, split
from support.outcomes import assert_same

EXAMPLES = {"vllm": 24, "sarathi": 8, "slots": 4, "orca": 4, "static": 4, "single": 4}
"""For each router, half of them with prefix caching."""


@st.composite
def with_more(draw: st.DrawFn, shape: Shape) -> SimInputs:
    """Kinds with what engines of vLLM can have besides: priorities, adapters, KV tiers."""
    inputs = draw(sim_inputs(shape))
    n, rng = len(inputs.workload), np.random.default_rng(draw(st.integers(0, 2**31)))
    settings, workload = inputs.settings, inputs.workload
    if draw(st.booleans()):
        settings = replace(settings, scheduling_policy="priority")
        workload = replace(workload, priority=rng.integers(0, 3, n).astype(np.int32))
    tiers: tuple[TierLimits, ...] = ()
    if inputs.prefixes is not None:
        tiers = (TierLimits("tier", draw(st.integers(1, 40)), 1, 2),)
    elif draw(st.booleans()):
        settings = replace(settings, max_loras=draw(st.integers(1, 3)))
        workload = replace(workload, adapter=rng.integers(-1, 4, n).astype(np.int32))
        inputs = replace(inputs, cost=replace(inputs.cost, lora_adapter=3, lora_token=1))
    return draw(grouped(replace(inputs, settings=settings, workload=workload, tiers=tiers)))


def choosy(inputs: SimInputs) -> int:
    """Requests that some replicas can hold and others cannot."""
    lengths = zip(inputs.workload.input_tokens, inputs.workload.output_tokens, strict=True)
    kinds = [{group.holds(int(i), int(o)) for group in inputs.groups} for i, o in lengths]
    return sum(len(answers) == 2 for answers in kinds)


def assert_held(inputs: SimInputs, outcome: Outcome) -> None:
    """Whoever ran was where it could, and nobody was rejected whom some kind holds."""
    homes = [group for group in inputs.groups for _ in range(group.replicas)]
    for number, home in enumerate(outcome.replica):
        tokens = (
            int(inputs.workload.input_tokens[number]),
            int(inputs.workload.output_tokens[number]),
        )
        assert (home >= 0) == any(group.holds(*tokens) for group in inputs.groups)
        assert home < 0 or homes[home].holds(*tokens)


def compare(inputs: SimInputs, seen: Counter[str]) -> None:
    found = agreed(inputs)
    assert_held(inputs, found)
    seen["examples"] += 1
    seen["preempting"] += bool(found.preemptions.any())
    seen["splitting a prompt"] += bool(found.split_chunks)
    seen["with requests that not all can hold"] += choosy(inputs) > 0
    seen["rejecting"] += bool((found.status == Status.REJECTED).any())
    seen["hitting"] += found.cached_tokens is not None and bool(found.cached_tokens.any())
    seen["tables in some kinds only"] += (
        len({group.cost.attention is None for group in inputs.groups}) == 2
    )
    seen["three kinds"] += len(inputs.groups) == 3
    seen["closed loop"] += inputs.workload.closed_loop
    seen["by priority"] += inputs.settings.by_priority
    seen["with adapters"] += inputs.settings.max_loras > 0
    seen["with tiers"] += bool(inputs.tiers)
    seen["all kinds used"] += _used(inputs, found)


def _used(inputs: SimInputs, outcome: Outcome) -> bool:
    kinds = np.repeat(np.arange(len(inputs.groups)), [g.replicas for g in inputs.groups])
    homes = outcome.replica[outcome.replica >= 0]
    return len(set(kinds[homes].tolist())) == len(inputs.groups)


def test_kernel_equals_reference_with_kinds(capsys: pytest.CaptureFixture[str]) -> None:
    seen: Counter[str] = Counter()
    for number, (scheduler, router) in enumerate(product(SCHEDULERS, ROUTERS)):
        for turn, caching in enumerate((False, True)):
            policy = ENGINE_POLICIES[(number + turn) % 5] if caching else None
            shape = Shape(scheduler, router, caching=caching, policy=policy)
            count = EXAMPLES[scheduler] // 2
            try_examples(
                lambda inputs: compare(inputs, seen),
                grouped_inputs(shape),
                count,
                2 * number + turn,
            )
    tell(capsys, "kernel == reference with replicas of several kinds", seen)
    assert seen["examples"] >= 250
    assert_often(seen, 0.3, "preempting", "with requests that not all can hold", "all kinds used")
    assert_often(seen, 0.1, "hitting", "tables in some kinds only", "three kinds", "closed loop")
    assert seen["rejecting"] >= 10


def test_kernel_equals_reference_with_kinds_and_more(capsys: pytest.CaptureFixture[str]) -> None:
    seen: Counter[str] = Counter()
    for number, router in enumerate((*ROUTERS, *ROUTERS)):
        shape = Shape("vllm", router, caching=number % 2 == 0)
        try_examples(lambda inputs: compare(inputs, seen), with_more(shape), 10, number)
    tell(capsys, "kernel == reference with kinds and more", seen)
    assert seen["examples"] >= 100
    assert_often(seen, 0.1, "by priority", "with adapters", "with tiers")


@st.composite
def failing(draw: st.DrawFn, shape: Shape, copies: str) -> SimInputs:
    """Kinds whose engines fail, each of which comes back in a time of its own."""
    inputs = draw(grouped_inputs(shape))
    times = st.sampled_from([None, 0, 5, 100])
    also = [replace(group, restart=draw(times), restore_block=draw(times)) for group in inputs.also]
    inputs = replace(inputs, also=tuple(also))
    return replace(inputs, failures=draw(drawn_failures(inputs, copies)))


@pytest.mark.parametrize("copies", ["none", "host", "neighbour"])
def test_kernel_equals_reference_with_kinds_that_fail(
    copies: str, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: Counter[str] = Counter()

    def check(inputs: SimInputs) -> None:
        compare(inputs, seen)
        found = kernel.run(inputs)
        assert found.outages is not None
        assert found.losses is not None
        seen["failures"] += len(found.outages)
        seen["rerouted"] += int(found.losses[LOSSES.index("rerouted")])

    for number, (scheduler, router) in enumerate(product(("vllm", "sarathi", "orca"), ROUTERS)):
        shape = Shape(scheduler, router, caching=number % 2 == 0)
        try_examples(check, failing(shape, copies), 12 if scheduler == "vllm" else 4, number)
    tell(capsys, f"kernel == reference with kinds that fail, copies {copies}", seen)
    assert seen["examples"] >= 100
    assert seen["failures"] >= seen["examples"]
    assert_often(seen, 0.3, "rerouted")
    assert_often(seen, 0.2, "with requests that not all can hold")


@pytest.mark.parametrize("caching", [False, True])
def test_one_kind_in_two_groups_is_one_group(caching: bool) -> None:
    """To the last digit, in every column; what is told of each group adds up."""
    tried = 0

    def check(inputs: SimInputs) -> None:
        nonlocal tried
        if inputs.replicas == 1:
            return
        tried += 1
        whole, parts = kernel.run(inputs), kernel.run(split(inputs, 1))
        peaks = (parts.peak_blocks, *parts.also_peak_blocks)
        assert max(peaks) == whole.peak_blocks
        assert_same(whole, replace(parts, peak_blocks=max(peaks), also_peak_blocks=()))

    for number, router in enumerate(ROUTERS):
        shape = Shape("vllm", router, caching=caching)
        try_examples(check, sim_inputs(shape), 12, number)
    assert tried >= 20


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_replica_does_what_it_would_alone(scheduler: str) -> None:
    """Given who was sent there, and when: the other kinds do not matter."""
    compared = 0

    def check(inputs: SimInputs) -> None:
        nonlocal compared
        if inputs.workload.closed_loop:
            return
        found = kernel.run(inputs)
        homes = [group for group in inputs.groups for _ in range(group.replicas)]
        for home, group in enumerate(homes):
            sent = np.flatnonzero(found.replica == home)
            if not sent.size:
                continue
            load = inputs.workload
            part = replace(
                load,
                arrival=load.arrival[sent],
                input_tokens=load.input_tokens[sent],
                output_tokens=load.output_tokens[sent],
                parent=None,
                think_time=None,
            )
            alone = kernel.run(replace(group, workload=part, replicas=1))
            for name in ("first_scheduled", "first_token", "finish", "preemptions"):
                expected, own = getattr(alone, name), getattr(found, name)[sent]
                np.testing.assert_array_equal(own, expected, err_msg=name)
            compared += 1

    for number, router in enumerate(("round-robin", "least-tokens")):
        try_examples(check, grouped_inputs(Shape(scheduler, router)), 12, number)
    assert compared >= 20
