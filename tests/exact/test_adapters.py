"""With LoRA adapters, too, the kernel gives the answer of the reference."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import strategies as st

from servetwin.sim import kernel
from servetwin.sim.inputs import SimInputs
from servetwin.types import ROUTERS
from support.agreement import agreed, assert_often, tell
from support.cases import Shape, sim_inputs, try_examples
from support.outcomes import assert_same


@st.composite
def adapted_inputs(draw: st.DrawFn, shape: Shape) -> SimInputs:
    """A case whose requests need one of a few adapters, or none; half of them by priority."""
    inputs = draw(sim_inputs(shape))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    n, most = len(inputs.workload), draw(st.integers(1, 3))
    names = np.array([-1, 7, 8, 9, 2**31 - 1], np.int32)
    column = rng.choice(names[draw(st.integers(0, 1)) : 2 + draw(st.integers(1, 3))], n)
    priority = rng.integers(0, 3, n).astype(np.int32) if draw(st.booleans()) else None
    settings = replace(
        inputs.settings,
        max_loras=most,
        scheduling_policy="fcfs" if priority is None else "priority",
    )
    cost = replace(
        inputs.cost,
        lora_base=draw(st.sampled_from([0, 3])),
        lora_adapter=draw(st.integers(0, 5)),
        lora_token=draw(st.integers(0, 2)),
    )
    workload = replace(inputs.workload, adapter=column, priority=priority)
    return replace(inputs, workload=workload, settings=settings, cost=cost)


def test_kernel_equals_reference_with_adapters(capsys: pytest.CaptureFixture[str]) -> None:
    seen: Counter[str] = Counter()

    def check(inputs: SimInputs) -> None:
        found = agreed(inputs)
        free = replace(inputs, settings=replace(inputs.settings, max_loras=100))
        seen["examples"] += 1
        seen["preempting"] += bool(found.preemptions.any())
        seen["waiting for a place"] += bool(np.any(kernel.run(free).finish != found.finish))
        seen["by priority"] += inputs.settings.by_priority
        seen["closed loop"] += inputs.workload.closed_loop
        seen["caching"] += inputs.prefixes is not None
        seen["async"] += inputs.lag

    for number, router in enumerate((*ROUTERS, *ROUTERS)):
        shape = Shape("vllm", router, caching=number % 2 == 0)
        try_examples(check, adapted_inputs(shape), 25, number)

    tell(capsys, "kernel == reference with adapters", seen)
    assert seen["examples"] >= 200
    assert_often(
        seen, 0.2, "preempting", "waiting for a place", "by priority", "closed loop", "caching"
    )


def test_adapters_without_an_engine_that_has_any_change_nothing() -> None:
    def check(inputs: SimInputs) -> None:
        off = replace(inputs, settings=replace(inputs.settings, max_loras=0))
        plain = replace(off, workload=replace(off.workload, adapter=None))
        assert_same(kernel.run(plain), kernel.run(off))

    try_examples(check, adapted_inputs(Shape("vllm", "round-robin")), 20, 0)
