"""Engine settings that the user did not choose, as each engine chooses them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from servetwin.cost.dtypes import half_dtype, kv_dtype, weight_dtype
from servetwin.cost.ranks import together
from servetwin.errors import InputError, nearest
from servetwin.types import (
    SCHEDULERS,
    SCHEDULING_POLICIES,
    Accelerator,
    EngineSettings,
    Model,
)
from servetwin.units import GIB

__all__ = ["SCHEDULER_DEFAULTS", "SchedulerDefaults", "resolve_settings"]


@dataclass(frozen=True)
class SchedulerDefaults:
    """What an engine does when told nothing. Sizes in tokens and requests."""

    max_num_batched_tokens: int
    max_num_seqs: int
    source: str


SCHEDULER_DEFAULTS = {
    "vllm": SchedulerDefaults(
        2048, 256, "vLLM 0.19, API server, devices under 70 GiB and every A100"
    ),
    "sarathi": SchedulerDefaults(512, 128, "Sarathi-Serve: chunk_size 512, max_num_seqs 128"),
    "orca": SchedulerDefaults(
        2048, 256, "Orca publishes no default; vLLM's limits, the token limit sizes memory only"
    ),
    "static": SchedulerDefaults(
        2048, 8, "FasterTransformer leaves the batch to its client; 8 is a common example"
    ),
    "slots": SchedulerDefaults(2048, 4, "llama.cpp server: n_batch 2048, 4 slots"),
    "single": SchedulerDefaults(2048, 1, "one request at a time"),
}

LARGE_DEVICE = SchedulerDefaults(
    8192, 1024, "vLLM 0.19, API server, devices of 70 GiB and more except A100"
)
LARGE_DEVICE_BYTES = 70 * GIB


def resolve_settings(
    model: Model, accelerator: Accelerator, *, dp: int = 1, **overrides: Any
) -> EngineSettings:
    """Fill in what the user left open; an override of None counts as left open.

    Overrides are named as the fields of EngineSettings, plus `quantization` (a vLLM name,
    for `weight_dtype`). Those that `cost.ranks.RankLimits` lists are of one rank, as in
    vLLM; the result holds them for all `dp` ranks together. Raises InputError for a name or
    value that is not possible.
    """
    chosen = {key: value for key, value in overrides.items() if value is not None}
    _check_names(chosen)
    scheduler = str(chosen.get("scheduler", "vllm"))
    if scheduler not in SCHEDULERS:
        hint = nearest(scheduler, SCHEDULERS) or f"known: {', '.join(SCHEDULERS)}"
        raise InputError(f"scheduler '{scheduler}' is not known: {hint}")
    policy = str(chosen.get("scheduling_policy", "fcfs"))
    if policy not in SCHEDULING_POLICIES:
        hint = nearest(policy, SCHEDULING_POLICIES) or f"known: {', '.join(SCHEDULING_POLICIES)}"
        raise InputError(f"scheduling policy '{policy}' is not known: {hint}")
    batch, seqs = _batch_limits(scheduler, accelerator, chosen)
    quantization = chosen.pop("quantization", None)
    half = half_dtype(accelerator)
    weights = chosen.get("weight_dtype") or quantization or _auto_weights(model)
    weights = weight_dtype(str(weights))
    cache = str(chosen.get("kv_cache_dtype", "auto"))
    values: dict[str, Any] = {
        "max_model_len": model.max_model_len,
        **chosen,
        "async_scheduling": scheduler == "vllm" and chosen.get("async_scheduling", True),
        "scheduler": scheduler,
        "max_num_batched_tokens": batch,
        "max_num_seqs": seqs,
        "weight_dtype": half if weights == "bf16" else weights,
        "kv_cache_dtype": half if cache == "auto" else kv_dtype(cache),
    }
    try:
        return together(EngineSettings(**values), dp)
    except ValueError as error:
        raise InputError(str(error)) from None


def _check_names(chosen: dict[str, Any]) -> None:
    known = [*EngineSettings.__dataclass_fields__, "quantization"]
    for name in chosen:
        if name not in known:
            hint = nearest(name, known) or f"known: {', '.join(known)}"
            raise InputError(f"engine setting '{name}' is not known: {hint}")


def _batch_limits(
    scheduler: str, accelerator: Accelerator, chosen: dict[str, Any]
) -> tuple[int, int]:
    """Token budget and sequences; a sequence limit nobody chose yields to the budget."""
    defaults = SCHEDULER_DEFAULTS[scheduler]
    large = accelerator.memory >= LARGE_DEVICE_BYTES and "a100" not in accelerator.name.casefold()
    if scheduler == "vllm" and large:
        defaults = LARGE_DEVICE
    batch = chosen.get("max_num_batched_tokens", defaults.max_num_batched_tokens)
    seqs = chosen.get("max_num_seqs")
    if seqs is None:
        seqs = min(defaults.max_num_seqs, batch)
    return batch, seqs


def _auto_weights(model: Model) -> str:
    """The format nobody chose: as published, but 32-bit weights are served in fp16 (vLLM)."""
    return "fp16" if model.dtype == "fp32" else model.dtype
