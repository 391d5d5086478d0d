"""A feature that is off, or has nothing to do, leaves no trace in any digit of a run."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import strategies as st

from servetwin.catalog import find_accelerator, find_link, find_model
from servetwin.cost import derive, resolve_settings
from servetwin.sim import SimOptions, kernel, simulate
from servetwin.sim.inputs import SimInputs
from servetwin.sim.outcome import Outcome
from servetwin.sim.stages import Stages
from servetwin.types import SCHEDULERS, Deployment, Parallelism, Pipeline, RequestTable, Workload
from servetwin.units import PS_PER_S
from support.cases import Shape, sim_inputs, try_examples
from support.hand import Run
from support.outcomes import assert_same
from support.pools import Pair, pooled_inputs


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_code_that_a_run_has_no_use_for_changes_nothing(scheduler: str) -> None:
    """The kernel with all features compiled in, against the one without the rare ones."""
    seen: Counter[str] = Counter()

    def check(inputs: SimInputs) -> None:
        bare = replace(inputs, cost=replace(inputs.cost, attention=None, speculation=None))
        assert bare.plain
        small = kernel.run(bare)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(SimInputs, "plain", property(lambda _: False))
            assert not bare.plain
            whole = kernel.run(bare)
        assert_same(small, whole)
        seen["preempting"] += bool(small.preemptions.any())
        seen["completing"] += bool(np.any(small.finish > 0))

    try_examples(check, sim_inputs(Shape(scheduler, "power-of-two")), 25, 0)
    assert seen["completing"] >= 15
    assert seen["preempting"] or scheduler not in ("vllm", "sarathi")


@st.composite
def slow_stages(draw: st.DrawFn, shape: Shape) -> SimInputs:
    """Lanes in which any iteration takes much longer than any of the copies drawn below."""
    inputs = draw(sim_inputs(shape))
    engines, microbatches = draw(st.integers(1, 2)), draw(st.integers(1, 4))
    return replace(
        inputs,
        settings=replace(inputs.settings, async_scheduling=False),
        cost=replace(inputs.cost, base=10**9, attention=None, speculation=None),
        snapshot_interval=10**9 * (inputs.snapshot_interval > 0),
        replicas=engines * microbatches,
        stages=Stages(engines, (0, 1 << 14, 3 << 14, 1 << 16)),
    )


@pytest.mark.parametrize("scheduler", ["vllm", "sarathi", "slots"])
def test_copies_that_always_hide_are_no_swapping(run: Run, scheduler: str) -> None:
    def check(inputs: SimInputs) -> None:
        assert inputs.stages is not None
        copying = replace(inputs, stages=replace(inputs.stages, swap=3))
        assert_same(run(inputs), run(copying))

    try_examples(check, slow_stages(Shape(scheduler, "round-robin", caching=True)), 15, 0)


def load(seed: int, requests: int = 60) -> Workload:
    rng = np.random.default_rng(seed)
    return Workload(
        arrival=np.sort(rng.integers(0, 20 * PS_PER_S, requests)),
        input_tokens=rng.integers(1, 2000, requests).astype(np.int32),
        output_tokens=rng.integers(1, 100, requests).astype(np.int32),
    )


@pytest.mark.parametrize("microbatches", [2, 3, 4, 7])
def test_all_microbatches_resident_is_no_swapping(microbatches: int) -> None:
    model, accelerator = find_model("meta-llama/Llama-3.1-70B"), find_accelerator("A100-80GB")
    settings = resolve_settings(model, accelerator, max_model_len=4000)

    def table(pipeline: Pipeline) -> RequestTable:
        layout = Parallelism(pp=4, pipeline=pipeline)
        link = find_link(accelerator.link)
        deployment = Deployment(model, accelerator, link, layout, settings, replicas=2)
        cost = derive(deployment, 1000)
        return simulate(deployment, load(microbatches), cost, SimOptions()).requests

    without = table(Pipeline(microbatches))
    resident = table(Pipeline(microbatches, resident=microbatches, host=find_link("PCIe4")))
    for field in fields(RequestTable):
        left, right = (getattr(each, field.name) for each in (without, resident))
        np.testing.assert_array_equal(left, right, err_msg=field.name)
    fewer = Pipeline(microbatches, resident=2, host=find_link("PCIe3"))
    assert (microbatches == 2) == np.array_equal(table(fewer).finish, without.finish)


def of_prefill_pool(inputs: SimInputs, outcome: Outcome) -> Outcome:
    """Without what a decode pool adds: columns of nobody, and of replicas that did nothing."""
    assert inputs.decode is not None
    for name in ("handover", "handover_transfer"):
        column = getattr(outcome, name)
        assert column is not None
        assert not column.any()
    np.testing.assert_array_equal(outcome.prefill_replica, outcome.replica)
    assert outcome.decode_peak_blocks == 0
    rows = outcome.snapshots
    if rows is not None:
        tables = {column.name: getattr(rows, column.name) for column in fields(rows)}
        assert not any(table[:, inputs.replicas :].any() for table in tables.values())
        own = {name: table[:, : inputs.replicas] for name, table in tables.items()}
        rows = replace(rows, **own)
    plain = dict.fromkeys(("prefill_replica", "handover", "handover_transfer"))
    return replace(outcome, **plain, snapshots=rows, tiers=outcome.tiers[: len(inputs.tiers)])


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_decode_pool_that_nobody_needs_is_none(run: Run, scheduler: str) -> None:
    """Requests of one output token end in the prefill pool."""
    pair = Pair(Shape(scheduler, "least-tokens"), Shape("vllm", "random"), caching=True)
    seen: Counter[str] = Counter()

    def check(inputs: SimInputs) -> None:
        firsts = np.ones_like(inputs.workload.output_tokens)
        pooled = replace(inputs, workload=replace(inputs.workload, output_tokens=firsts))
        alone = run(replace(pooled, decode=None))
        found = of_prefill_pool(pooled, run(pooled))
        moved = np.zeros_like(found.arrival) if alone.kv_transfer is None else alone.kv_transfer
        np.testing.assert_array_equal(found.kv_transfer, moved)
        assert_same(alone, replace(found, kv_transfer=alone.kv_transfer))
        seen["tiers"] += bool(inputs.tiers)
        seen["completing"] += bool(np.any(alone.finish > 0))

    try_examples(check, pooled_inputs(pair), 12, 0)
    assert seen["tiers"]
    assert seen["completing"] >= 8
