"""RunSettings with a decode pool -> that pool, and its settings as they turned out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from servetwin.cache.notation import parse_link, write_link, write_tier
from servetwin.cli.options import flag_of
from servetwin.cli.pipeline_settings import PipelineSettings
from servetwin.cli.pool_settings import ALIKE, DECODE, PoolSettings
from servetwin.cli.settings import RunSettings
from servetwin.cost import rank_limits
from servetwin.errors import InputError, nearest
from servetwin.types import DecodePool, Deployment

__all__ = ["has_pools", "of_decode_pool", "resolved_pools", "whole_experts", "with_decode_pool"]

Built = tuple[Deployment, tuple[str, ...]]

USUAL_LINK = "InfiniBand-NDR"
TRANSFERS = ("layerwise", "after")

OWN = ("num_gpu_blocks_override", "kv_tier")
"""Settings that only this pool has where they are given for it."""


def has_pools(settings: RunSettings) -> bool:
    """Whether there is a decode pool. Raises InputError for its settings where there is none."""
    if settings.decode_replicas is not None:
        _check(settings)
        return True
    for name in PoolSettings.model_fields:
        if getattr(settings, name) != PoolSettings.model_fields[name].default:
            raise InputError(
                f"{flag_of(name)} needs two pools: give --decode-replicas N, the number of engines "
                "that only decode"
            )
    return False


def _check(settings: RunSettings) -> None:
    if settings.kv_transfer not in TRANSFERS:
        hint = nearest(settings.kv_transfer, TRANSFERS) or f"known: {', '.join(TRANSFERS)}"
        raise InputError(f"--kv-transfer {settings.kv_transfer}: {hint}")
    prefill, replicas = settings.prefill_replicas, settings.replicas
    if prefill is not None and replicas not in (1, prefill):
        raise InputError(
            f"--replicas {replicas} and --prefill-replicas {prefill} differ: both are the engines "
            "that compute prompts; give one"
        )


def with_decode_pool(
    prefill: Built, settings: RunSettings, build: Callable[[RunSettings], Built]
) -> Built:
    """Add the decode pool, built like any engine, to a deployment. Raises InputError."""
    try:
        pool, notes = build(of_decode_pool(settings))
    except InputError as error:
        raise InputError(f"decode pool: {error}") from None
    transfer = parse_link(settings.kv_link or USUAL_LINK)
    decode = DecodePool(
        accelerator=pool.accelerator,
        link=pool.link,
        transfer=transfer,
        parallelism=pool.parallelism,
        settings=pool.settings,
        replicas=pool.replicas,
        router=pool.router,
        layerwise=settings.kv_transfer == "layerwise",
    )
    replicas = settings.prefill_replicas or settings.replicas
    try:
        deployment = replace(prefill[0], replicas=replicas, decode=decode)
    except ValueError as error:
        raise InputError(str(error)) from None
    told = [f"decode pool: {note}" for note in notes if note not in prefill[1]]
    if settings.kv_link is None or "kv_link" in settings.defaulted:
        rate = transfer.bandwidth / 1e9
        told.append(
            f"KV blocks move over {transfer.name}, {rate:g} GB/s for each replica; --kv-link names "
            "another"
        )
    return deployment, (*prefill[1], *told)


def of_decode_pool(settings: RunSettings) -> RunSettings:
    """The settings of the decode pool as if it were alone."""
    pool: dict[str, Any] = {"replicas": settings.decode_replicas}
    for name in ALIKE:
        own = getattr(settings, DECODE + name)
        pool[name] = getattr(settings, name) if own is None else own
    for name in OWN:
        pool[name] = getattr(settings, DECODE + name)
    pool |= dict.fromkeys(PipelineSettings.model_fields)  # as many microbatches as stages
    same = settings.decode_gpu in (None, settings.gpu)
    pool["link"] = settings.decode_link or (settings.link if same else None)
    pool["ep"] = settings.decode_ep or whole_experts(settings, pool["tp"] * pool["dp"])
    pool["max_model_len"] = settings.decode_max_model_len
    if pool["max_model_len"] is None and "max_model_len" not in settings.defaulted:
        pool["max_model_len"] = settings.max_model_len
    defaulted = [
        name.removeprefix(DECODE) for name in settings.defaulted if name.startswith(DECODE)
    ]
    return settings.model_copy(update={**pool, "defaulted": defaulted})


def whole_experts(settings: RunSettings, devices: int) -> int:
    """Over how many devices experts are spread: over all, where they are in the prefill pool."""
    every = settings.ep > 1 and settings.ep == settings.tp * settings.dp
    return devices if every else settings.ep


def resolved_pools(deployment: Deployment) -> dict[str, Any]:
    """List the settings of pools as they were decided; nothing where there is one pool."""
    pool = deployment.decode
    if pool is None:
        return {}
    target = deployment.pools[1]
    engine, layout, limits = pool.settings, pool.parallelism, rank_limits(target)
    return {
        "prefill_replicas": deployment.replicas,
        "replicas": deployment.replicas,
        "kv_link": write_link(pool.transfer),
        "decode_gpu": pool.accelerator.name,
        "decode_link": pool.link.name,
        "decode_tp": layout.tp,
        "decode_pp": layout.pp,
        "decode_dp": layout.dp,
        "decode_ep": layout.ep,
        "decode_router": pool.router,
        "decode_scheduler": engine.scheduler,
        "decode_max_model_len": engine.max_model_len,
        "decode_gpu_memory_utilization": engine.gpu_memory_utilization,
        "decode_kv_tier": [write_tier(tier) for tier in engine.kv_tiers] or None,
        **{DECODE + name: value for name, value in asdict(limits).items()},
    }
