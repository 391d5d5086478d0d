"""With engines that fail, too, the kernel gives the reference's answer."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import accumulate, product

import numpy as np
import pytest
from hypothesis import strategies as st

from servetwin.cache.tiers import TIER_POLICIES, TierLimits
from servetwin.sim import kernel, reference
from servetwin.sim.failures import Failures
from servetwin.sim.inputs import Outcome, SimInputs
from servetwin.sim.stages import Stages
from servetwin.types import ROUTERS, SCHEDULERS
from support.cases import Shape, sim_inputs, try_examples
from support.outcomes import assert_conserved, assert_same

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
def failing_inputs(draw: st.DrawFn, shape: Shape, *, replicated: bool) -> SimInputs:
    """A case whose engines fail now and then, pipelines and tiers now and then."""
    inputs = draw(sim_inputs(shape))
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
    return replace(inputs, failures=draw(failures(inputs, replicated=replicated)))


@st.composite
def failures(draw: st.DrawFn, inputs: SimInputs, *, replicated: bool) -> Failures:
    """Failures within about the time that the run takes without them, often at a boundary."""
    calm = kernel.run(replace(inputs, snapshot_interval=0))
    times = np.concatenate([calm.first_token, calm.finish, calm.arrival])
    end = max(1, int(times.max()))
    count = draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    drawn = rng.integers(0, end + end // 2 + 2, count)
    chosen = np.where(rng.random(count) < 0.3, rng.choice(times[times >= 0], count), drawn)
    at = np.sort(chosen)
    scale = max(1, end // 50)
    return Failures(
        tuple(at.tolist()),
        tuple(rng.integers(0, inputs.engines, count).tolist()),
        detect=draw(st.sampled_from([0, 1, scale, 5 * scale])),
        restart=draw(st.sampled_from([0, 1, 3 * scale, 10 * scale])),
        replicated=replicated,
        restore_block=draw(st.sampled_from([0, 1, 7])),
        lag=draw(st.sampled_from([0, 1, 3])),
        reroute=draw(st.integers(0, 3)) > 0,
    )


def count(seen: Counter[str], inputs: SimInputs, found: Outcome) -> None:
    assert found.outages is not None
    assert found.losses is not None
    assert found.retries is not None
    seen["examples"] += 1
    seen["failures"] += len(found.outages)
    for name, lost in zip(
        ("interrupted", "prompts", "", "", "rerouted"), found.losses, strict=True
    ):
        seen[name] += int(lost)
    seen["retries"] += int(found.retries.sum())
    seen["retried twice"] += int((found.retries > 1).sum())
    seen["async"] += inputs.lag
    seen["lanes"] += inputs.replicas > inputs.engines
    seen["caching"] += inputs.prefixes is not None
    seen["tiers"] += bool(inputs.tiers)
    seen["closed loop"] += inputs.workload.closed_loop
    seen["preempting"] += bool(found.preemptions.any())


@pytest.mark.parametrize("replicated", [True, False])
def test_kernel_equals_reference_with_failures(
    replicated: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: Counter[str] = Counter()

    def check(inputs: SimInputs) -> None:
        expected, found = reference.run(inputs, check=True), kernel.run(inputs)
        assert_same(expected, found)
        assert_conserved(inputs, found)
        count(seen, inputs, found)

    for number, (scheduler, router) in enumerate(product(SCHEDULERS, ROUTERS)):
        shape = Shape(scheduler, router, caching=number % 2 == 0)
        examples = 12 if scheduler == "vllm" else 5
        try_examples(check, failing_inputs(shape, replicated=replicated), examples, number)

    with capsys.disabled():
        print(f"\nkernel == reference with failures, replicated {replicated}: {dict(seen)}")
