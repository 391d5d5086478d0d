"""With priorities, too, the kernel gives the answer of the reference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import strategies as st

from servetwin.sim import kernel, reference
from servetwin.sim.inputs import SimInputs
from servetwin.sim.reference.replica import Replica
from servetwin.sim.reference.state import Batch, Request
from servetwin.sim.stages import Stages
from servetwin.types import ROUTERS
from support.agreement import assert_often, tell
from support.cases import Shape, sim_inputs, try_examples
from support.outcomes import assert_conserved, assert_same
from support.pools import Pair, assert_pools_conserve, pooled_inputs
from support.priorities import by_priority, with_priorities


@st.composite
def prioritized_inputs(draw: st.DrawFn, shape: Shape) -> SimInputs:
    return draw(with_priorities(draw(sim_inputs(shape))))


@contextmanager
def counted_turns(seen: Counter[str]) -> Iterator[None]:
    """Count plans that took tokens back, and those that left somebody out who decodes."""
    plan, take_back = Replica._plan, Batch.take_back

    def counting(replica: Replica, now: int) -> Batch:
        batch = plan(replica, now)
        served = {item.request for item in batch.work}
        able = [other for other in replica.queues.running if other.decoding and not other.exhausted]
        seen["left out"] += not served.issuperset(able)
        return batch

    def counting_back(batch: Batch, request: Request) -> int:
        tokens = take_back(batch, request)
        seen["taken back"] += tokens > 0
        return tokens

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Replica, "_plan", counting)
        patch.setattr(Batch, "take_back", counting_back)
        yield


def test_kernel_equals_reference_with_priorities(capsys: pytest.CaptureFixture[str]) -> None:
    seen: Counter[str] = Counter()

    def check(inputs: SimInputs) -> None:
        with counted_turns(seen):
            expected = reference.run(inputs, check=True)
        found = kernel.run(inputs)
        assert_same(expected, found)
        assert_conserved(inputs, found)
        served = kernel.run(
            replace(inputs, settings=replace(inputs.settings, scheduling_policy="fcfs"))
        )
        seen["examples"] += 1
        seen["preempting"] += bool(expected.preemptions.any())
        seen["other than fcfs"] += bool(np.any(served.finish != found.finish))
        seen["closed loop"] += inputs.workload.closed_loop
        seen["caching"] += inputs.prefixes is not None
        seen["async"] += inputs.lag

    for number, router in enumerate((*ROUTERS, *ROUTERS)):
        shape = Shape("vllm", router, caching=number % 2 == 0)
        try_examples(check, prioritized_inputs(shape), 25, number)

    tell(capsys, "kernel == reference with priorities", seen)
    assert seen["examples"] >= 200
    assert_often(seen, 0.3, "preempting", "other than fcfs", "closed loop", "caching", "async")
    assert min(seen["taken back"], seen["left out"]) >= 0.1 * seen["examples"]


def test_kernel_equals_reference_with_priorities_in_pools_and_lanes() -> None:
    seen: Counter[str] = Counter()

    @st.composite
    def drawn(draw: st.DrawFn, pair: Pair) -> SimInputs:
        inputs = draw(with_priorities(draw(pooled_inputs(pair))))
        assert inputs.decode is not None
        engine = replace(inputs.decode.engine, workload=inputs.workload)
        if draw(st.integers(0, 2)):  # each pool has a policy of its own
            engine = by_priority(engine)
        inputs = replace(inputs, decode=replace(inputs.decode, engine=engine))
        if draw(st.booleans()):
            return inputs
        settings = replace(inputs.settings, async_scheduling=False)
        stages = Stages(inputs.replicas, (0, 30_000, 1 << 16), draw(st.sampled_from([0, 3])))
        return replace(inputs, settings=settings, stages=stages, replicas=2 * inputs.replicas)

    def check(inputs: SimInputs) -> None:
        expected, found = reference.run(inputs, check=True), kernel.run(inputs)
        assert_same(expected, found)
        assert_pools_conserve(inputs, found)
        assert inputs.decode is not None
        seen["examples"] += 1
        seen["preempting"] += bool(expected.preemptions.any())
        seen["loading"] += bool(inputs.tiers or inputs.decode.engine.tiers)
        seen["lanes"] += inputs.stages is not None

    for number, router in enumerate((*ROUTERS, *ROUTERS)):
        pair = Pair(Shape("vllm", router), Shape("vllm", router), caching=number % 2 == 0)
        try_examples(check, drawn(pair), 20, number)
    assert seen["examples"] >= 200
    assert_often(seen, 0.3, "preempting")
    assert min(seen["loading"], seen["lanes"]) >= 0.1 * seen["examples"]
