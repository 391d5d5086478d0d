"""RunSettings -> what the simulator needs, and the settings as they turned out."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from servetwin.cache import ENGINE_POLICIES, check_policy
from servetwin.cache.notation import assumed_speeds, misplaced, parse_tier, write_tier
from servetwin.catalog import count_parameters, find_accelerator, find_link, find_model, model_names
from servetwin.cli.build_workload import build_workload
from servetwin.cli.costs import build_cost
from servetwin.cli.failure_settings import FailureSettings
from servetwin.cli.failures import failures_of
from servetwin.cli.frontends import parse_frontend
from servetwin.cli.groups import has_groups, resolved_groups, with_groups
from servetwin.cli.options import flag_of
from servetwin.cli.pipelines import few_microbatches, parallelism_of, resolved_pipeline
from servetwin.cli.pool_settings import POOL_DEFAULTS, PoolSettings
from servetwin.cli.pools import has_pools, resolved_pools, with_decode_pool
from servetwin.cli.settings import DEFAULTS, OUTPUT_FIELDS, RunSettings
from servetwin.cost import (
    check_deployment,
    lower_max_model_len,
    rank_limits,
    resolve_settings,
)
from servetwin.cost.checks import check_parallelism, lowered_note
from servetwin.cost.frontends import write_frontend
from servetwin.errors import InputError, counted, nearest
from servetwin.types import ROUTERS, CostModel, Deployment, Model, Workload

__all__ = ["Prepared", "build_deployment", "prepare", "typical_context"]


Tokens = NDArray[np.int32]


@dataclass(frozen=True)
class Prepared:
    """Everything that one simulation needs."""

    deployment: Deployment
    workload: Workload
    cost: CostModel
    config: dict[str, Any]
    """Every setting, with nothing left open; RunSettings accepts it again."""
    notes: tuple[str, ...] = ()


def prepare(settings: RunSettings) -> Prepared:
    """Build deployment, workload and cost model. Raises InputError for whatever cannot run."""
    deployment, notes = build_deployment(settings)
    workload = build_workload(settings)
    check_inputs(workload, deployment)
    return Prepared(
        deployment=deployment,
        workload=workload,
        cost=build_cost(
            settings.cost,
            deployment,
            workload,
            typical_context(workload, deployment.settings.max_model_len),
        ),
        config=resolved(settings, deployment),
        notes=(*notes, *workload.notes),
    )


def build_deployment(settings: RunSettings) -> tuple[Deployment, tuple[str, ...]]:
    """Build a deployment that can run, and notes on what was decided for the user."""
    deployment, notes = _build_pools(settings)
    return replace(
        deployment,
        failures=failures_of(settings),
        frontend=parse_frontend(settings.frontend),
    ), notes


def _build_pools(settings: RunSettings) -> tuple[Deployment, tuple[str, ...]]:
    pools = has_pools(settings)  # checks what is given for pools, with groups too
    if has_groups(settings):
        return with_groups(_build_pool(settings), settings, _build_pool)
    if not pools:
        return _build_pool(settings)
    return with_decode_pool(_build_pool(settings), settings, _build_pool)


def _build_pool(settings: RunSettings) -> tuple[Deployment, tuple[str, ...]]:
    if settings.model is None:
        raise InputError("no model: give --model NAME (servetwin catalog models lists them)")
    if settings.gpu is None:
        raise InputError("no GPU: give --gpu NAME (servetwin catalog gpus lists them)")
    if settings.router not in ROUTERS:
        hint = nearest(settings.router, ROUTERS) or f"known: {', '.join(ROUTERS)}"
        raise InputError(f"router '{settings.router}' is not known: {hint}")
    model, accelerator = find_model(settings.model), find_accelerator(settings.gpu)
    engine = resolve_settings(model, accelerator, dp=settings.dp, **_engine(settings))
    deployment = Deployment(
        model=model,
        accelerator=accelerator,
        link=find_link(settings.link or accelerator.link),
        parallelism=parallelism_of(settings, engine.max_num_seqs),
        settings=engine,
        replicas=settings.replicas,
        router=settings.router,
    )
    check_parallelism(model, deployment.parallelism)
    notes = [] if model.name in model_names() else [_counted(model)]
    lowered = ""
    if settings.max_model_len is None:
        deployment, lowered = lower_max_model_len(deployment)
    elif "max_model_len" in settings.defaulted:
        lowered = lowered_note(model.max_model_len, settings.max_model_len)
    few = few_microbatches(settings, deployment.parallelism)
    tiers = assumed_speeds(settings.kv_tier or ()), misplaced(deployment.settings.kv_tiers)
    notes += [note for note in (few, lowered, *tiers) if note]
    check_deployment(deployment)
    return deployment, tuple(notes)


def _counted(model: Model) -> str:
    """Say how many parameters a config.json comes to: whoever wrote it can tell if it is right."""
    count = count_parameters(model)
    active = "" if count.active == count.total else f"; one token uses {count.active:,} of them"
    return f"{model.name} describes a model of {count.total:,} parameters{active}"


ENGINE = (
    "scheduler",
    "scheduling_policy",
    "max_loras",
    "max_lora_rank",
    "max_num_seqs",
    "max_num_batched_tokens",
    "max_model_len",
    "block_size",
    "num_gpu_blocks_override",
    "gpu_memory_utilization",
    "quantization",
    "kv_cache_dtype",
    "max_cudagraph_capture_size",
    "async_scheduling",
    "enable_prefix_caching",
    "prefix_caching_policy",
    "speculative_tokens",
    "acceptance_length",
    "draft_share",
)


def _engine(settings: RunSettings) -> dict[str, Any]:
    decided: dict[str, object] = {
        "prefix_caching_policy": check_policy(settings.prefix_caching_policy, ENGINE_POLICIES),
        "kv_tiers": tuple(parse_tier(text) for text in settings.kv_tier or ()),
    }
    if settings.speculative_tokens and settings.acceptance_length is None:
        count = settings.speculative_tokens
        raise InputError(
            f"--speculative-tokens {count} needs --acceptance-length, the mean tokens that one "
            f"verification yields: 1 to {1 + count}"
        )
    if not settings.speculative_tokens:
        for name, unset in (("acceptance_length", 1.0), ("draft_share", 0.0)):
            if (getattr(settings, name) or unset) != unset:
                raise InputError(
                    f"{flag_of(name)} is for speculative decoding: give --speculative-tokens N"
                )
    if settings.enforce_eager:
        decided["max_cudagraph_capture_size"] = 0
    if decided["kv_tiers"] and not settings.enable_prefix_caching:
        raise InputError("--kv-tier needs prefix caching: leave --no-enable-prefix-caching away")
    return {name: getattr(settings, name) for name in ENGINE} | decided


def check_inputs(workload: Workload, deployment: Deployment) -> None:
    """Raise InputError where an input exceeds the model's context.

    That is a mistake in the choice of model or trace. A request that only its output makes
    too long, or that exceeds a smaller max-model-len, is rejected by the engine and counted.
    """
    context = deployment.model.max_model_len
    too_long = np.flatnonzero(workload.input_tokens > context)
    if too_long.size:
        first = int(too_long[0])
        raise InputError(
            f"{workload.source}: request {first} has {workload.input_tokens[first]} input tokens, "
            f"more than the context of {deployment.model.name}, which is {context} "
            f"({too_long.size} of {counted(len(workload), 'request')} too long): choose a model "
            f"with a longer context, or leave them out with --max-total-tokens {context}"
        )


def typical_context(workload: Workload, longest: int) -> int:
    """Tokens in the cache of a sequence seen at a random decode step.

    A request with `o` output tokens is seen `o` times, on average half-way through, so this
    is the mean of input + output/2, weighted by output; at most `longest`.
    """
    inputs, outputs = workload.input_tokens, workload.output_tokens

    def product(left: Tokens, right: Tokens) -> float:
        return float(np.einsum("i,i", left, right, dtype=np.float64))  # casts piece by piece

    weighted = product(inputs, outputs) + product(outputs, outputs) / 2
    mean = weighted / float(outputs.sum(dtype=np.int64))
    return max(1, min(round(mean), longest))


def resolved(settings: RunSettings, deployment: Deployment) -> dict[str, Any]:
    """List every setting that decides the result, as it was decided."""
    engine = deployment.settings
    decided: dict[str, object] = {
        "model": deployment.model.name,
        "gpu": deployment.accelerator.name,
        "link": deployment.link.name,
        **{name: getattr(engine, name) for name in ENGINE if name != "quantization"},
        "quantization": engine.weight_dtype,
        "kv_tier": [write_tier(tier) for tier in engine.kv_tiers] or None,
        **asdict(rank_limits(deployment)),
        "defaulted": [name for name in _defaults(settings) if _nobody_chose(settings, name)],
        **resolved_pipeline(deployment.parallelism),
        **resolved_groups(deployment),
        **resolved_pools(deployment),
        "frontend": write_frontend(deployment.frontend),
    }
    left_out = {*OUTPUT_FIELDS, "engine_args"}
    if deployment.failures is None:
        left_out |= FailureSettings.model_fields.keys()
    known = settings.model_dump(exclude=left_out)
    names = sorted(known, key=lambda name: name in PoolSettings.model_fields)  # pools come last
    return {name: decided.get(name, known[name]) for name in names}


def _defaults(settings: RunSettings) -> tuple[str, ...]:
    return DEFAULTS if settings.decode_replicas is None else (*DEFAULTS, *POOL_DEFAULTS)


def _nobody_chose(settings: RunSettings, name: str) -> bool:
    """Whether a field was left to its default, here or in the run that saved it."""
    return name in settings.defaulted or getattr(settings, name) in (None, "auto")
