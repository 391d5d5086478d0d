"""The kernel gives the reference's answer to the last digit."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings

from servetwin.sim import kernel, reference
from servetwin.sim.inputs import Outcome, SimInputs
from servetwin.types import ROUTERS, SCHEDULERS, Status
from servetwin.units import NOT_YET
from support.cases import LONGEST_OUTPUT, Shape, sim_inputs

EXAMPLES = {"vllm": 32, "sarathi": 12, "slots": 6, "orca": 5, "static": 5, "single": 5}
"""For each router. Only the first two can preempt, only the first three split prompts."""


def assert_same(expected: Outcome, found: Outcome) -> None:
    for field in fields(Outcome):
        if field.name in ("events", "snapshots"):
            continue  # the kernel takes fewer events; snapshots follow
        np.testing.assert_array_equal(
            getattr(found, field.name), getattr(expected, field.name), err_msg=field.name
        )
    assert (found.snapshots is None) == (expected.snapshots is None)
    if found.snapshots is not None and expected.snapshots is not None:
        for field in fields(found.snapshots):
            np.testing.assert_array_equal(
                getattr(found.snapshots, field.name),
                getattr(expected.snapshots, field.name),
                err_msg=f"snapshots.{field.name}",
            )


def assert_conserved(inputs: SimInputs, outcome: Outcome) -> None:
    """Every request finishes or is reported; every token is computed; no block is left."""
    ok = outcome.status == Status.OK
    assert np.all(ok | (outcome.status == Status.REJECTED))
    rejected = ~ok
    assert np.all(outcome.finish[rejected] == NOT_YET)
    assert np.all(outcome.replica[rejected] == -1)
    assert np.all(outcome.arrival[ok] <= outcome.first_scheduled[ok])
    assert np.all(outcome.first_scheduled[ok] < outcome.first_token[ok])
    assert np.all(outcome.first_token[ok] <= outcome.finish[ok])
    assert outcome.peak_blocks <= inputs.capacity_blocks
    if inputs.token_gaps:
        assert outcome.gaps.sum() == int((inputs.workload.output_tokens[ok] - 1).sum())
    rows = outcome.snapshots
    if rows is not None and rows.running.size:
        assert not rows.running[-1].any()
        assert not rows.waiting[-1].any()
        assert not rows.kv_blocks[-1].any()
        assert rows.kv_blocks.max() <= inputs.capacity_blocks
        computed = int(rows.prefill_tokens.sum()) + int(rows.decode_tokens.sum())
        total = inputs.workload.input_tokens + inputs.workload.output_tokens - 1
        assert computed >= int(total[ok].sum())
        if outcome.preemptions.sum() == 0:
            assert computed == int(total[ok].sum())


def test_kernel_equals_reference_everywhere(capsys: pytest.CaptureFixture[str]) -> None:
    seen: Counter[str] = Counter()
    pairs: Counter[tuple[str, str]] = Counter()

    def check(inputs: SimInputs) -> None:
        expected = reference.run(inputs, check=True)
        found = kernel.run(inputs)
        assert_same(expected, found)
        assert_conserved(inputs, found)
        pairs[inputs.settings.scheduler, inputs.router] += 1
        seen["examples"] += 1
        seen["preempting"] += bool(expected.preemptions.sum())
        seen["splitting a prompt"] += bool(expected.split_chunks)
        seen["rejecting"] += bool((expected.status == Status.REJECTED).any())
        seen["closed loop"] += inputs.workload.closed_loop
        seen["async"] += inputs.lag
        seen["longest output"] = max(
            seen["longest output"], int(inputs.workload.output_tokens.max())
        )

    for scheduler in SCHEDULERS:
        for router in ROUTERS:
            shape = Shape(scheduler, router)
            examples = settings(max_examples=EXAMPLES[scheduler])
            examples(given(inputs=sim_inputs(shape))(check))()
        shape = Shape(scheduler, "least-outstanding")
        settings(max_examples=2)(given(inputs=sim_inputs(shape, long_outputs=True))(check))()

    with capsys.disabled():
        print(f"\nkernel == reference: {dict(seen)}")
    assert seen["examples"] >= 200
    assert seen["preempting"] >= 0.3 * seen["examples"]
    assert seen["splitting a prompt"] >= 0.3 * seen["examples"]
    assert seen["longest output"] > LONGEST_OUTPUT // 2
    assert all(pairs[s, r] >= 5 for s in SCHEDULERS for r in ROUTERS)
