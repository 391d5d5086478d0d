"""From a FailureModel to the failures of one run, and to what they cost."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from servetwin.errors import InputError
from servetwin.sim.failures import LOSSES, Failures
from servetwin.sim.inputs import SimInputs
from servetwin.sim.outcome import Outcome
from servetwin.types import CostModel, Deployment, FailureModel, MemoryPlan, Status
from servetwin.types.failures import LONGEST_PAUSE
from servetwin.units import CLOCK_END_PS, PS_PER_S

__all__ = ["describe_failures", "run_failing", "usual_restart"]

START = 20 * PS_PER_S
"""To start a machine and an engine, before weights are loaded."""
STORAGE = 2e9
"""Bytes a second at which each device gets its weights."""
MOST = 100_000
"""Failures of one run."""
LISTED = 100
"""Outages that a summary names."""


def usual_restart(memory: MemoryPlan) -> int:
    """Picoseconds to start an engine and load its weights, each device its own, at 2 GB/s."""
    return START + math.ceil(memory.weights / STORAGE * PS_PER_S)


def run_failing(
    deployment: Deployment,
    cost: CostModel,
    inputs: SimInputs,
    run: Callable[[SimInputs], Outcome],
) -> tuple[SimInputs, Outcome]:
    """Simulate with failures up to the end of the run. Raises InputError.

    How long it lasts is not known before. So failures are drawn for some time, and where the
    run lasts longer it is repeated with more: those drawn before stay the same.
    """
    model = deployment.failures
    assert model is not None
    _check(deployment, model)
    inputs = _with_plans(model, deployment, cost, inputs)
    until = max(3600 * PS_PER_S, 2 * int(inputs.workload.arrival.max(initial=0)))
    while True:
        until = min(until, CLOCK_END_PS)
        failing = _at(inputs, _times(model, inputs, until))
        outcome = run(failing)
        end = int(outcome.finish.max(initial=0))
        if model.mtbf is None or end <= until or until == CLOCK_END_PS:
            return failing, outcome
        until = 4 * end


def _check(deployment: Deployment, model: FailureModel) -> None:
    flags = ("--replicas", "--decode-replicas")
    for flag, pool in zip(flags, deployment.pools, strict=False):
        if model.on_neighbour and pool.engines == 1:
            raise InputError(
                f"copies of the KV on a neighbour need two engines: give {flag} 2 or more, or "
                "--kv-replication host"
            )
    for time, engine in model.at:
        if engine >= deployment.engines:
            raise InputError(
                f"engine {engine} is to fail at {time / PS_PER_S:g} s, but engines are numbered "
                f"from 0 to {deployment.engines - 1}"
            )


def _plan(model: FailureModel, deployment: Deployment, cost: CostModel) -> Failures:
    """How engines come back; they do not fail yet."""
    restore = 0
    if model.copies is not None:
        block = cost.memory.kv_per_token * deployment.settings.block_size
        seconds = block / model.copies.bandwidth if model.copies.bandwidth > 0 else math.inf
        restore = math.ceil(min(seconds * PS_PER_S, LONGEST_PAUSE))
    restart = usual_restart(cost.memory) if model.restart is None else model.restart
    return Failures(
        (),
        (),
        detect=model.detect,
        restart=restart,
        replicated=model.copies is not None,
        neighbour=model.copies is not None and model.on_neighbour,
        restore_block=restore,
        lag=model.lag if model.copies is not None else 0,
        reroute=model.reroute,
    )


def _with_plans(
    model: FailureModel, deployment: Deployment, cost: CostModel, inputs: SimInputs
) -> SimInputs:
    """The same run, whose engines know how they come back. Raises InputError."""
    if inputs.decode is not None:
        assert cost.decode is not None
        prefill, target = deployment.pools
        engine = _with_plans(model, target, cost.decode, inputs.decode.engine)
        inputs = replace(inputs, decode=replace(inputs.decode, engine=engine))
        deployment = prefill
    plan, *others = map(partial(_plan, model), deployment.groups, (cost, *cost.also))
    also = tuple(
        replace(group, restart=own.restart, restore_block=own.restore_block)
        for group, own in zip(inputs.also, others, strict=True)
    )
    inputs = replace(inputs, also=also, failures=plan)
    _check_restoring(inputs)
    return inputs


def _check_restoring(inputs: SimInputs) -> None:
    for group in inputs.groups:
        plan = group.failures
        assert plan is not None
        if group.capacity_blocks * plan.restore_block > LONGEST_PAUSE:
            raise InputError(
                "the link over which copies of the KV come is too slow: a full cache would take "
                "more than 10 days"
            )


def _at(inputs: SimInputs, failures: list[tuple[int, int]]) -> SimInputs:
    """The same run with these failures of (time, engine); the decode pool's engines come last."""
    if inputs.decode is not None:
        first = inputs.engines
        later = [(time, engine - first) for time, engine in failures if engine >= first]
        decode = replace(inputs.decode, engine=_at(inputs.decode.engine, later))
        inputs = replace(inputs, decode=decode)
        failures = [(time, engine) for time, engine in failures if engine < first]
    assert inputs.failures is not None
    times, engines = zip(*sorted(failures), strict=True) if failures else ((), ())
    return replace(inputs, failures=replace(inputs.failures, times=times, engines=engines))


def _times(model: FailureModel, inputs: SimInputs, until: int) -> list[tuple[int, int]]:
    """All failures that are given, and those that are drawn up to `until`."""
    failures = list(model.at)
    if model.mtbf is None:
        return failures
    engines = inputs.engines + (inputs.decode.engine.engines if inputs.decode else 0)
    if until / model.mtbf * engines > MOST:
        raise InputError(
            f"--mtbf {model.mtbf / PS_PER_S:g}s: engines may fail more than {MOST:,} times before "
            "all requests are done; choose a longer time"
        )
    for engine in range(engines):
        draws = np.random.default_rng([inputs.seed, engine])
        time = _next(0, model.mtbf, draws)
        while time < until:
            failures.append((time, engine))
            time = _next(time, model.mtbf, draws)
    return failures


def _next(time: int, mean: int, draws: np.random.Generator) -> int:
    return time + max(1, round(float(draws.exponential()) * mean))


def describe_failures(
    deployment: Deployment, inputs: SimInputs, outcome: Outcome, calm: Outcome
) -> dict[str, Any] | None:
    """`failures` as the metrics of a summary state it; `calm` is the run without them."""
    plan, model = inputs.failures, deployment.failures
    if plan is None or model is None or outcome.outages is None:
        return None
    assert outcome.losses is not None
    assert outcome.retries is not None
    end = int(outcome.finish.max(initial=0))
    happened = outcome.outages[outcome.outages[:, 0] <= end]
    restarts = _restarts(inputs)
    down = [min(back, end) - failed for failed, _, back in happened.tolist()]
    return {
        "count": len(happened),
        "replicated": plan.replicated,
        "restart_s": plan.restart / PS_PER_S,
        "downtime_s": sum(down) / PS_PER_S,
        "longest_s": max(down, default=0) / PS_PER_S,
        "outages": [
            {
                "engine": engine,
                "failed_s": failed / PS_PER_S,
                "back_s": back / PS_PER_S,
                "restart_s": restarts[engine] / PS_PER_S,
            }
            for failed, engine, back in happened[:LISTED].tolist()
        ],
        "begun_anew": int(np.count_nonzero(outcome.retries)),
        **{f"lost_{name}": int(n) for name, n in _lost(outcome.losses).items()},
        "interrupted": int(outcome.losses[LOSSES.index("interrupted")]),
        "rerouted": int(outcome.losses[LOSSES.index("rerouted")]),
        "added_latency_s": _added(outcome, calm),
    }


def _restarts(inputs: SimInputs) -> list[int]:
    """How long the restart of each engine takes."""
    if not inputs.also:
        assert inputs.failures is not None
        later = _restarts(inputs.decode.engine) if inputs.decode else []
        return [inputs.failures.restart] * inputs.engines + later
    return [
        group.failures.restart
        for group in inputs.groups
        if group.failures is not None
        for _ in range(group.replicas)
    ]


def _lost(losses: NDArray[np.int64]) -> dict[str, int]:
    named = dict(zip(LOSSES, losses.tolist(), strict=True))
    return {name: named[name] for name in ("prompts", "prompt_tokens", "output_tokens")}


def _added(outcome: Outcome, calm: Outcome) -> dict[str, float | None]:
    """Mean and largest growth of the E2E latency, over requests that finish in both runs."""
    both = (outcome.status == Status.OK) & (calm.status == Status.OK)
    if not both.any():
        return {"mean": None, "max": None}
    late = (outcome.finish - outcome.arrival)[both] - (calm.finish - calm.arrival)[both]
    return {"mean": float(late.mean()) / PS_PER_S, "max": float(late.max()) / PS_PER_S}
