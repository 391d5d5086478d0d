"""From a deployment, a workload and a cost model to a RunResult."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from servetwin import __version__
from servetwin.cache import PolicyFactory, PolicyOptions
from servetwin.cache.notation import write_tier
from servetwin.cost import rank_limits
from servetwin.cost.frontends import write_frontend
from servetwin.sim.copies import copy_notes
from servetwin.sim.failing import describe_failures, run_failing
from servetwin.sim.frontends import delayed, undelayed
from servetwin.sim.groups import describe_groups, write_groups
from servetwin.sim.inputs import SimInputs, block_bytes, prepare
from servetwin.sim.notes import notes_of
from servetwin.sim.outcome import Outcome, SnapshotRows
from servetwin.sim.prefixes import find_prefixes
from servetwin.sim.provenance import provenance_of
from servetwin.sim.stages import merge_lanes, stage_use
from servetwin.types import (
    CostModel,
    DecodePool,
    Deployment,
    RequestTable,
    RunResult,
    Timeline,
    TokenGaps,
    Workload,
)
from servetwin.units import PS_PER_S
from servetwin.workload import summarize

__all__ = ["SimOptions", "simulate"]

ENGINES = ("kernel", "reference")


def _say_on_stderr(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class SimOptions:
    """How to simulate, as opposed to what."""

    seed: int = 0
    """Of the routers that draw."""
    snapshot_interval: int = PS_PER_S
    """Picoseconds between rows of the timeline; 0 for no timeline."""
    engine: str = "kernel"
    """`kernel`, or `reference`: the same answer, hundreds of times slower."""
    token_gaps: bool = True
    """Count the inter-token latencies."""
    prefix_policy: PolicyFactory | None = None
    """An own eviction policy, instead of the engine's; needs `engine="reference"`."""
    policy_options: PolicyOptions = field(default_factory=PolicyOptions)
    """Settings of the engine's eviction policy."""
    progress: Callable[[int], None] | None = None
    """Told the number of requests that have arrived, about twice a second."""
    say: Callable[[str], None] = _say_on_stderr
    """Told, once on a new machine, that the kernel is being compiled."""

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise ValueError(f"engine must be one of {', '.join(ENGINES)}")
        if self.snapshot_interval < 0:
            raise ValueError("snapshot_interval must not be negative")
        if self.prefix_policy is not None and self.engine != "reference":
            raise ValueError("prefix_policy is Python: it needs engine='reference'")


_DEFAULTS = SimOptions()


def simulate(
    deployment: Deployment,
    workload: Workload,
    cost: CostModel,
    options: SimOptions = _DEFAULTS,
) -> RunResult:
    """Simulate `workload` on `deployment`, whose engines cost what `cost` says.

    Deterministic: equal arguments give equal results. Requests that could never run are
    rejected on arrival and counted. Raises InputError where the run outlasts the clock, or
    its snapshots or replicas would fill the memory.
    """
    sent = workload
    if deployment.frontend is not None:
        workload, delay = delayed(deployment.frontend, workload)
    prefixes = [
        find_prefixes(workload, pool.settings, options.prefix_policy, options.policy_options)
        for pool in deployment.pools
    ]
    inputs = prepare(
        deployment,
        workload,
        cost,
        seed=options.seed,
        snapshot_interval=options.snapshot_interval,
        token_gaps=options.token_gaps,
        prefixes=prefixes[0],
        decode_prefixes=prefixes[-1],
    )
    failures = None
    if deployment.failures is None:
        outcome = _run(inputs, options)
    else:
        calm = inputs
        inputs, outcome = run_failing(deployment, cost, calm, lambda each: _run(each, options))
        failures = describe_failures(deployment, inputs, outcome, _run(calm, options))
    outcome = merge_lanes(inputs, outcome)
    requests = _requests(workload, outcome)
    if deployment.frontend is not None:
        arrival = undelayed(sent, outcome.arrival, delay)
        requests = replace(requests, arrival=arrival, frontend_time=delay)
    return RunResult(
        kind="simulated",
        config=describe(deployment),
        provenance={
            "servetwin": __version__,
            "seed": options.seed,
            **provenance_of(deployment, cost),
            "simulator": options.engine,
            "iterations": outcome.iterations,
        },
        workload=summarize(sent),
        requests=requests,
        kv_capacity_blocks=inputs.capacity_blocks,
        kv_peak_blocks=outcome.peak_blocks,
        kv_tiers=_tiers(inputs, outcome, _block_sizes(deployment, cost)),
        kv_decode=_decode_use(inputs, outcome),
        groups=describe_groups(deployment, inputs, outcome),
        pipeline=stage_use(inputs, outcome, outcome.stage_busy),
        decode_pipeline=_decode_stage_use(inputs, outcome),
        failures=failures,
        timeline=_timeline(outcome.snapshots, options.snapshot_interval),
        token_gaps=TokenGaps(outcome.gaps) if options.token_gaps else None,
        notes=(
            *notes_of(deployment, cost, inputs),
            *copy_notes(deployment, cost, workload, outcome, options.snapshot_interval),
        ),
    )


def _decode_use(inputs: SimInputs, outcome: Outcome) -> dict[str, int] | None:
    if inputs.decode is None:
        return None
    return {
        "first": inputs.engines,
        "replicas": inputs.decode.engine.engines,
        "capacity_blocks": inputs.decode.engine.capacity_blocks,
        "peak_blocks": outcome.decode_peak_blocks,
        "microbatches": inputs.decode.engine.replicas // inputs.decode.engine.engines,
    }


def _decode_stage_use(inputs: SimInputs, outcome: Outcome) -> dict[str, Any] | None:
    if inputs.decode is None:
        return None
    return stage_use(inputs.decode.engine, outcome, outcome.decode_stage_busy)


def _run(inputs: SimInputs, options: SimOptions) -> Outcome:
    if options.engine == "reference":
        from servetwin.sim import reference

        return reference.run(inputs)
    from servetwin.sim.kernel import compile as compiling

    if not compiling.is_compiled(_entry(inputs)):
        options.say("compiling the simulator for this machine, once (10 to 20 seconds) …")
    from servetwin.sim import kernel

    return kernel.run(inputs, options.progress)


def _entry(inputs: SimInputs) -> str:
    """Name of the kernel's function that simulates such a run."""
    if inputs.decode is not None:
        return "run_pools_slice" if inputs.failures is None else "run_failing_pools_slice"
    if inputs.failures is not None:
        return "run_failing_slice"
    return "run_plain_slice" if inputs.plain else "run_slice"


def describe(deployment: Deployment) -> dict[str, Any]:
    """List every setting of a deployment, by the names of the command line."""
    settings = deployment.settings
    layout = deployment.parallelism
    engine = {name: getattr(settings, name) for name in settings.__dataclass_fields__}
    tiers = [write_tier(tier) for tier in engine.pop("kv_tiers")]
    return {
        "model": deployment.model.name,
        "gpu": deployment.accelerator.name,
        "link": deployment.link.name,
        "tp": layout.tp,
        "pp": layout.pp,
        "ep": layout.ep,
        "dp": layout.dp,
        "replicas": deployment.replicas,
        "also": write_groups(deployment),
        "router": deployment.router,
        **engine,
        "kv_tier": tiers or None,
        **asdict(rank_limits(deployment)),
        **_describe_decode(deployment.decode),
        "frontend": write_frontend(deployment.frontend),
    }


def _describe_decode(pool: DecodePool | None) -> dict[str, Any]:
    if pool is None:
        return {}
    layout = pool.parallelism
    return {
        "decode_replicas": pool.replicas,
        "decode_gpu": pool.accelerator.name,
        "decode_tp": layout.tp,
        "decode_pp": layout.pp,
        "decode_ep": layout.ep,
        "decode_dp": layout.dp,
        "decode_router": pool.router,
        "kv_link": pool.transfer.name,
        "kv_transfer": "layerwise" if pool.layerwise else "after",
    }


def _block_sizes(deployment: Deployment, cost: CostModel) -> list[float]:
    """Bytes of a KV block in each pool."""
    costs = (cost,) if cost.decode is None else (cost, cost.decode)
    return [block_bytes(*pool) for pool in zip(deployment.pools, costs, strict=True)]


def _tiers(
    inputs: SimInputs, outcome: Outcome, block_bytes: list[float]
) -> list[dict[str, Any]] | None:
    """What went through each tier; those of a decode pool are named so."""
    own = len(inputs.tiers)
    stated = [tier.stated(block_bytes[0]) for tier in outcome.tiers[:own]]
    for tier in outcome.tiers[own:]:
        stated.append({**tier.stated(block_bytes[-1]), "name": f"decode {tier.name}"})
    return stated or None


def _requests(workload: Workload, outcome: Outcome) -> RequestTable:
    return RequestTable(
        arrival=outcome.arrival,
        first_scheduled=outcome.first_scheduled,
        first_token=outcome.first_token,
        finish=outcome.finish,
        input_tokens=workload.input_tokens,
        output_tokens=workload.output_tokens,
        preemptions=outcome.preemptions,
        replica=outcome.replica,
        status=outcome.status,
        session_id=workload.session_id,
        priority=workload.priority,
        kv_transfer=outcome.kv_transfer,
        prefill_time=outcome.prefill_time,
        decode_time=outcome.decode_time,
        preempted_time=outcome.preempted_time,
        prefill_stage_wait=outcome.prefill_stage_wait,
        decode_stage_wait=outcome.decode_stage_wait,
        prefill_outage=outcome.prefill_outage,
        decode_outage=outcome.decode_outage,
        cached_tokens=outcome.cached_tokens,
        prefill_replica=outcome.prefill_replica,
        handover=outcome.handover,
        handover_transfer=outcome.handover_transfer,
        retries=outcome.retries,
    )


def _timeline(rows: SnapshotRows | None, interval: int) -> Timeline | None:
    """Lay the snapshots out as one row an interval and replica."""
    if rows is None:
        return None
    count, replicas = rows.running.shape
    return Timeline(
        t=np.repeat(np.arange(1, count + 1, dtype=np.int64) * interval, replicas),
        replica=np.tile(np.arange(replicas, dtype=np.int32), count),
        running=rows.running.ravel().astype(np.int32),
        waiting=rows.waiting.ravel().astype(np.int32),
        kv_blocks=rows.kv_blocks.ravel(),
        prefill_tokens=rows.prefill_tokens.ravel(),
        decode_tokens=rows.decode_tokens.ravel(),
        iterations=rows.iterations.ravel(),
        context_tokens=rows.context_tokens.ravel(),
        interval=interval,
    )
