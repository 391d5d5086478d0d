"""The kernel gives the reference's answer to the last digit."""

from __future__ import annotations

from collections import Counter
from itertools import product

import pytest

from servetwin.sim.inputs import SimInputs
from servetwin.types import ROUTERS, SCHEDULERS, Status
from support.agreement import agreed, assert_often, tell
from support.cases import LONGEST_OUTPUT, Shape, sim_inputs, try_examples

EXAMPLES = {"vllm": 32, "sarathi": 12, "slots": 6, "orca": 5, "static": 5, "single": 5}
"""For each router. Only the first two can preempt, only the first three split prompts."""


def test_kernel_equals_reference_everywhere(capsys: pytest.CaptureFixture[str]) -> None:
    seen: Counter[str] = Counter()
    pairs: Counter[tuple[str, str]] = Counter()

    def check(inputs: SimInputs) -> None:
        found = agreed(inputs)
        pairs[inputs.settings.scheduler, inputs.router] += 1
        seen["examples"] += 1
        seen["preempting"] += bool(found.preemptions.sum())
        seen["splitting a prompt"] += bool(found.split_chunks)
        seen["rejecting"] += bool((found.status == Status.REJECTED).any())
        seen["closed loop"] += inputs.workload.closed_loop
        seen["async"] += inputs.lag
        seen["longest output"] = max(
            seen["longest output"], int(inputs.workload.output_tokens.max())
        )

    for number, (scheduler, router) in enumerate(product(SCHEDULERS, ROUTERS)):
        shape = Shape(scheduler, router)
        try_examples(check, sim_inputs(shape), EXAMPLES[scheduler], number)
    for number, scheduler in enumerate(SCHEDULERS):
        shape = Shape(scheduler, "least-outstanding")
        try_examples(check, sim_inputs(shape, long_outputs=True), 2, number)

    tell(capsys, "kernel == reference", seen)
    assert seen["examples"] >= 200
    assert_often(seen, 0.3, "preempting", "splitting a prompt")
    assert seen["longest output"] > LONGEST_OUTPUT // 2
    assert all(pairs[s, r] >= 5 for s in SCHEDULERS for r in ROUTERS)
