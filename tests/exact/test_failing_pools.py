"""With engines of both pools that fail, too, the kernel gives the reference's answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import strategies as st

from servetwin.sim import kernel, reference
from servetwin.sim.failures import LOSSES, Failures
from servetwin.sim.inputs import DecodeInputs, SimInputs
from servetwin.sim.outcome import Outcome
from servetwin.sim.stages import Stages
from servetwin.types import ROUTERS, SCHEDULERS, Status
from support.agreement import assert_often, tell
from support.cases import Shape, try_examples
from support.failures import failing_pools
from support.outcomes import assert_same
from support.pools import Pair, assert_pools_conserve, pooled_inputs
from support.priorities import by_priority, with_priorities


@st.composite
def failing_inputs(draw: st.DrawFn, pair: Pair, copies: str) -> SimInputs:
    """Two pools whose engines fail; microbatches and priorities now and then."""
    inputs = draw(pooled_inputs(pair))
    assert inputs.decode is not None
    if pair.prefill.scheduler == pair.decode.scheduler == "vllm":
        inputs = draw(with_priorities(inputs))
        assert inputs.decode is not None
        engine = replace(inputs.decode.engine, workload=inputs.workload)
        inputs = replace(inputs, decode=replace(inputs.decode, engine=by_priority(engine)))
    if copies == "neighbour":
        inputs = _both(inputs, lambda pool: replace(pool, replicas=max(2, pool.replicas)))
    if draw(st.integers(0, 2)) == 0:
        inputs = _both(inputs, _with_lanes)
    return draw(failing_pools(inputs, copies))


def _both(inputs: SimInputs, change: Callable[[SimInputs], SimInputs]) -> SimInputs:
    assert inputs.decode is not None
    decode = DecodeInputs(change(inputs.decode.engine), inputs.decode.link)
    return replace(change(inputs), decode=decode)


def _with_lanes(pool: SimInputs) -> SimInputs:
    settings = replace(pool.settings, async_scheduling=False)
    stages = Stages(pool.replicas, (0, 30_000, 1 << 16))
    return replace(pool, settings=settings, stages=stages, replicas=2 * pool.replicas)


def count(seen: Counter[str], inputs: SimInputs, found: Outcome) -> None:
    decode = inputs.decode
    assert decode is not None
    assert found.outages is not None
    assert found.losses is not None
    assert found.retries is not None
    assert found.handover is not None
    failed = found.outages[:, 1] < inputs.engines
    seen["examples"] += 1
    seen["failures of prefill engines"] += int(failed.sum())
    seen["failures of decode engines"] += int((~failed).sum())
    seen["failing in both pools"] += bool(failed.any() and not failed.all())
    went = found.replica != found.prefill_replica
    seen["prompts lost between the pools"] += int((went & (found.handover == 0)).sum())
    seen["begun anew"] += int((found.retries > 0).sum())
    for name, number in zip(LOSSES, found.losses.tolist(), strict=True):
        seen[name] += number
    seen["async"] += inputs.lag or decode.engine.lag
    seen["lanes"] += inputs.stages is not None
    seen["caching"] += inputs.prefixes is not None or decode.engine.prefixes is not None
    seen["by priority"] += inputs.settings.by_priority
    seen["preempting"] += bool(found.preemptions.any())


def assert_tokens_counted(inputs: SimInputs, found: Outcome) -> bool:
    """All tokens computed are those of the requests, and those lost; False where nobody knows."""
    decode, rows = inputs.decode, found.snapshots
    assert decode is not None
    assert found.losses is not None
    caching = inputs.prefixes is not None or decode.engine.prefixes is not None
    if rows is None or not rows.running.size or caching or found.preemptions.any():
        return False
    lost = dict(zip(LOSSES, found.losses.tolist(), strict=True))
    ok, load = found.status == Status.OK, inputs.workload
    total = int((load.input_tokens + load.output_tokens - 1)[ok].sum())
    total += lost["prompt_tokens"] + lost["output_tokens"] - lost["prompts"]
    assert int(rows.prefill_tokens.sum()) + int(rows.decode_tokens.sum()) == total
    return True


@pytest.mark.parametrize("copies", ["none", "host", "neighbour"])
def test_kernel_equals_reference_with_pools_that_fail(
    copies: str, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: Counter[str] = Counter()

    def check(inputs: SimInputs) -> None:
        expected, found = reference.run(inputs, check=True), kernel.run(inputs)
        assert_same(expected, found)
        assert_pools_conserve(inputs, found)
        count(seen, inputs, found)
        seen["tokens counted"] += assert_tokens_counted(inputs, found)

    for number, (prefill, decode) in enumerate(product(SCHEDULERS, SCHEDULERS)):
        router, other = ROUTERS[number % len(ROUTERS)], ROUTERS[number * 5 % len(ROUTERS)]
        pair = Pair(Shape(prefill, other), Shape(decode, router), caching=number % 3 > 0)
        examples = 40 if prefill == decode == "vllm" else 5
        try_examples(check, failing_inputs(pair, copies), examples, number)

    tell(capsys, f"kernel == reference with pools that fail, copies {copies}", seen)
    assert seen["examples"] >= 200
    assert_often(seen, 0.8, "failures of prefill engines", "failures of decode engines")
    assert_often(seen, 0.4, "failing in both pools")
    assert_often(seen, 0.08, "async", "lanes", "caching", "by priority", "preempting")
    assert_often(seen, 0.08, "tokens counted")
    lost = ("prompts lost between the pools", "begun anew", "prompt_tokens", "output_tokens")
    assert all((seen[what] == 0) == (copies == "host") for what in lost)


def test_where_nothing_fails_nothing_differs() -> None:
    def check(inputs: SimInputs) -> None:
        never = _both(inputs, lambda pool: replace(pool, failures=Failures((), (), 5, 5)))
        expected, found = kernel.run(inputs), kernel.run(never)
        assert found.outages is not None
        assert len(found.outages) == 0
        assert found.decode_outage is not None
        assert not np.any(found.decode_outage)
        none = dict.fromkeys(("outages", "losses", "retries", "prefill_outage", "decode_outage"))
        assert_same(expected, replace(found, **none))

    for number, (scheduler, router) in enumerate(product(SCHEDULERS, ROUTERS)):
        shape = Shape(scheduler, router)
        pair = Pair(shape, shape, caching=number % 2 == 0)
        try_examples(check, pooled_inputs(pair), 3, number)
