"""Deployments that cannot run, told in one line with what would."""

from __future__ import annotations

from dataclasses import replace

from servetwin.cost.capacity import budget, fitting_length
from servetwin.cost.memory import FIXED_RUNTIME_BYTES, adapters_on_device, kv_bytes, plan_memory
from servetwin.cost.ranks import rank_limits
from servetwin.cost.stages import check_stages, stage_share
from servetwin.errors import InputError
from servetwin.types import Deployment, MemoryPlan, Model, Parallelism

__all__ = [
    "check_deployment",
    "check_fits",
    "check_parallelism",
    "lower_max_model_len",
    "lowered_note",
]

GB = 1e9
MOST_DEVICES = 64


def check_deployment(deployment: Deployment) -> None:
    """Raise InputError for the first thing that keeps the engine from starting."""
    check_parallelism(deployment.model, deployment.parallelism)
    check_stages(deployment)
    _check_length(deployment)
    check_fits(deployment)


def check_parallelism(model: Model, parallelism: Parallelism) -> None:
    """Raise InputError where the model cannot be cut in this many pieces."""
    tp, pp, ep = parallelism.tp, parallelism.pp, parallelism.ep
    if not _heads_divide(model, tp):
        raise InputError(
            f"tp {tp} does not divide the {model.heads} attention heads and {model.kv_heads} "
            f"KV heads of {model.name}: tp can be {_listed(tp_choices(model))}"
        )
    if pp > model.layers:
        raise InputError(f"pp {pp} exceeds the {model.layers} layers of {model.name}")
    if ep == 1:
        return
    if model.mixture is None:
        raise InputError(f"ep {ep}: {model.name} has no experts; leave ep at 1")
    if ep > model.mixture.experts:
        raise InputError(f"ep {ep} exceeds the {model.mixture.experts} experts of {model.name}")
    if tp * parallelism.dp % ep:
        raise InputError(
            f"ep {ep} does not divide the {tp * parallelism.dp} devices of a stage (tp x dp); "
            f"vLLM uses all of them: ep {tp * parallelism.dp}"
        )


def _heads_divide(model: Model, tp: int) -> bool:
    if model.heads % tp:
        return False
    if model.latent is not None:
        return True
    return model.kv_heads % tp == 0 or tp % model.kv_heads == 0


def tp_choices(model: Model) -> list[int]:
    """Every tp up to 64 that divides the heads, the smallest first."""
    return [tp for tp in range(1, MOST_DEVICES + 1) if _heads_divide(model, tp)]


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))


def _check_length(deployment: Deployment) -> None:
    model, wanted = deployment.model, deployment.settings.max_model_len
    if wanted > model.max_model_len:
        raise InputError(
            f"max-model-len {wanted} exceeds the context of {model.name}: at most "
            f"{model.max_model_len}"
        )


def check_fits(deployment: Deployment) -> None:
    """Raise InputError where the weights, or one sequence of max_model_len, do not fit.

    The message names the smallest tp at which the deployment would start, the length it
    would be limited to, and the smallest tp for all of max_model_len.
    """
    settings = deployment.settings
    fits = fitting_length(deployment)
    if fits >= settings.max_model_len:
        return
    blocks = rank_limits(deployment).num_gpu_blocks_override
    if blocks is not None and fits:
        raise InputError(
            f"num_gpu_blocks_override {blocks} holds sequences of at most {fits} tokens, less "
            f"than max-model-len {settings.max_model_len}"
        )
    raise InputError(f"{_misfit(deployment, fits)}; {_remedy(deployment, fits)}")


def _remedy(deployment: Deployment, fits: int) -> str:
    """Say which tp would do, where the deployment as it is holds only `fits` tokens."""
    wanted = deployment.settings.max_model_len
    wider = {
        tp: fitting_length(_with_tp(deployment, tp))
        for tp in tp_choices(deployment.model)
        if tp > deployment.parallelism.tp
    }
    whole = next((tp for tp, length in wider.items() if length == wanted), None)
    first = next((tp for tp, length in wider.items() if _starts(deployment, length)), None)
    if _starts(deployment, fits):
        # It runs shorter sequences as it is, which the problem has said.
        first = whole
    if first is None:
        return f"no tp up to {MOST_DEVICES} would do{_smaller_limits(deployment)}"
    text = f"{_devices(deployment, first)} GPUs would do ({_flags(deployment, first)})"
    if first == whole:
        return text
    text += f" with max-model-len up to {wider[first]}"
    if whole is None:
        return f"{text}; no tp up to {MOST_DEVICES} for {wanted}"
    return f"{text}; {_devices(deployment, whole)} ({_flags(deployment, whole)}) for {wanted}"


def _smaller_limits(deployment: Deployment) -> str:
    """Name the settings that take the memory, where the weights would leave enough of it."""
    plan = plan_memory(deployment, deployment.settings.max_model_len)
    least = plan.weights + FIXED_RUNTIME_BYTES + _least_cache(deployment, plan)
    if least >= budget(deployment):
        return ""
    if adapters_on_device(deployment) > budget(deployment) - least:
        return ", but a smaller max-loras or max-lora-rank would"
    return ", but a smaller max-num-batched-tokens, max-num-seqs or block-size would"


def _least_cache(deployment: Deployment, plan: MemoryPlan) -> float:
    """Bytes of one block for tokens, and of the null block."""
    return 2 * deployment.settings.block_size * plan.kv_per_token


def _with_tp(deployment: Deployment, tp: int) -> Deployment:
    """The deployment cut for `tp`; experts stay spread as they are where that is possible."""
    layout = deployment.parallelism
    ep = 1 if tp * layout.dp % layout.ep else layout.ep
    return replace(deployment, parallelism=replace(layout, tp=tp, ep=ep))


def _devices(deployment: Deployment, tp: int) -> int:
    return _with_tp(deployment, tp).devices


def _flags(deployment: Deployment, tp: int) -> str:
    ep = _with_tp(deployment, tp).parallelism.ep
    return f"tp {tp}" if ep == deployment.parallelism.ep else f"tp {tp}, ep {ep}"


def _starts(deployment: Deployment, length: int) -> bool:
    """Whether a run accepts an engine whose cache holds sequences of at most `length`."""
    settings = deployment.settings
    return length >= min(settings.block_size, settings.max_model_len)


def _misfit(deployment: Deployment, fits: int) -> str:
    """What does not fit, with gigabytes needed and available."""
    model, settings, layout = deployment.model, deployment.settings, deployment.parallelism
    sizes = {"pp": layout.pp, "dp": layout.dp}
    cut = [f"tp {layout.tp}", *(f"{name} {size}" for name, size in sizes.items() if size > 1)]
    where = f"on {deployment.accelerator.name} with {', '.join(cut)}"
    plan = plan_memory(deployment, settings.max_model_len)
    if not _starts(deployment, fits):
        blocks = _least_cache(deployment, plan)
        extra = f" + two KV blocks ({blocks / GB:.1f} GB)" if blocks > 0.05 * GB else ""
        return (
            f"{model.name} does not fit {where}: weights ({plan.weights / GB:.1f} GB) + runtime "
            f"({plan.runtime / GB:.1f} GB){extra} exceed the {budget(deployment) / GB:.1f} GB "
            "available of each GPU"
        )
    cache = kv_bytes(model, settings.max_model_len, settings.kv_cache_dtype, layout.tp)
    return (
        f"one sequence of max-model-len {settings.max_model_len} does not fit {where}: its KV "
        f"cache needs {cache * stage_share(deployment) / GB:.1f} GB, {plan.kv / GB:.1f} GB are "
        f"available (max-model-len {fits} fits)"
    )


def lower_max_model_len(deployment: Deployment) -> tuple[Deployment, str]:
    """Shorten max_model_len to what the KV cache holds, as vLLM asks its user to.

    Returns the deployment as it is, and "", where nothing needs to change. For a length
    the user chose, call `check_fits` instead. Raises InputError where not even one block
    is left.
    """
    wanted, fits = deployment.settings.max_model_len, fitting_length(deployment)
    if fits == wanted:
        return deployment, ""
    if not _starts(deployment, fits):
        check_fits(deployment)
    settings = replace(deployment.settings, max_model_len=fits)
    return replace(deployment, settings=settings), lowered_note(wanted, fits)


def lowered_note(wanted: int, fits: int) -> str:
    """Say that max_model_len was lowered; "" where it was not."""
    if fits >= wanted:
        return ""
    return f"max-model-len lowered from {wanted} to {fits}: the KV cache holds no longer sequence"
