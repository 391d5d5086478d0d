"""With several microbatches in pipeline stages, too, the kernel gives the reference's answer."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import accumulate, product

import numpy as np
import pytest
from hypothesis import strategies as st

from servetwin.sim import kernel, reference
from servetwin.sim.inputs import SimInputs
from servetwin.sim.stages import Stages
from servetwin.types import ROUTERS, SCHEDULERS
from support.agreement import agreed, assert_often, tell
from support.cases import Shape, sim_inputs, try_examples
from support.outcomes import assert_same
from support.pools import Pair, assert_pools_conserve, pooled_inputs


@st.composite
def staged_inputs(draw: st.DrawFn, shape: Shape) -> SimInputs:
    """A case whose replicas are lanes of one to three engines."""
    return draw(with_stages(draw(sim_inputs(shape))))


@st.composite
def with_stages(draw: st.DrawFn, inputs: SimInputs) -> SimInputs:
    engines, microbatches = draw(st.integers(1, 3)), draw(st.integers(1, 5))
    widths = draw(st.lists(st.integers(1, 40_000), min_size=1, max_size=6))
    swap = draw(st.sampled_from([0, 0, 1, 7]))
    return replace(
        inputs,
        settings=replace(inputs.settings, async_scheduling=False),
        replicas=engines * microbatches,
        stages=Stages(engines, (0, *accumulate(widths)), swap),
    )


def test_kernel_equals_reference_with_stages(capsys: pytest.CaptureFixture[str]) -> None:
    seen: Counter[str] = Counter()

    def check(inputs: SimInputs) -> None:
        stages = inputs.stages
        assert stages is not None
        found = agreed(inputs)
        assert found.stage_busy is not None
        assert found.stage_busy.max() <= max(0, int(found.finish.max()))
        seen["examples"] += 1
        seen["several lanes"] += inputs.replicas > stages.engines
        seen["several stages"] += stages.count > 1
        seen["swapping"] += stages.swap > 0
        seen["caching"] += inputs.prefixes is not None
        seen["preempting"] += bool(found.preemptions.any())
        for name in ("prefill_stage_wait", "decode_stage_wait"):
            seen[name] += bool(getattr(found, name).any())

    for number, (scheduler, router) in enumerate(product(SCHEDULERS, ROUTERS)):
        shape = Shape(scheduler, router, caching=number % 2 == 0)
        try_examples(check, staged_inputs(shape), 8, number)

    tell(capsys, "kernel == reference with stages", seen)
    assert seen["examples"] >= 200
    assert_often(seen, 0.1, "several lanes", "several stages", "swapping", "caching", "preempting")
    assert_often(seen, 0.3, "prefill_stage_wait", "decode_stage_wait")


def test_kernel_equals_reference_with_stages_in_both_pools() -> None:
    seen: Counter[str] = Counter()

    @st.composite
    def staged_pools(draw: st.DrawFn, pair: Pair) -> SimInputs:
        inputs = draw(with_stages(draw(pooled_inputs(pair))))
        assert inputs.decode is not None
        engine = draw(with_stages(inputs.decode.engine))
        return replace(inputs, decode=replace(inputs.decode, engine=engine))

    def check(inputs: SimInputs) -> None:
        expected, found = reference.run(inputs, check=True), kernel.run(inputs)
        assert_same(expected, found)
        assert_pools_conserve(inputs, found)
        for work in (found.stage_busy, found.decode_stage_busy):
            assert work is not None
            assert work.max() <= max(0, int(found.finish.max()))
        seen["examples"] += 1
        seen["both working"] += bool(found.stage_busy.any() and found.decode_stage_busy.any())
        seen["handing over"] += bool(np.any(found.replica != found.prefill_replica))

    for number, (prefill, decode) in enumerate(product(SCHEDULERS, SCHEDULERS)):
        router = ROUTERS[number % len(ROUTERS)]
        pair = Pair(Shape(prefill, router), Shape(decode, router), caching=number % 2 == 0)
        try_examples(check, staged_pools(pair), 3, number)
    assert seen["handing over"] >= 0.5 * seen["examples"] >= 50
    assert_often(seen, 0.4, "both working")


def test_one_stage_of_one_lane_is_an_engine_without_stages() -> None:
    def check(inputs: SimInputs) -> None:
        plain = replace(inputs, settings=replace(inputs.settings, async_scheduling=False))
        staged = replace(plain, stages=Stages(plain.replicas, (0, 1 << 16)))
        expected, found = kernel.run(plain), kernel.run(staged)
        waits = found.prefill_stage_wait, found.decode_stage_wait
        assert not any(np.any(wait) for wait in waits if wait is not None)
        others = {"stage_busy": None, "prefill_stage_wait": None, "decode_stage_wait": None}
        assert_same(expected, replace(found, **others))

    for number, scheduler in enumerate(SCHEDULERS):
        try_examples(check, sim_inputs(Shape(scheduler, "round-robin", caching=True)), 10, number)
