"""Deployments that cannot run, told in one line with what would."""

from __future__ import annotations

from dataclasses import replace

from servetwin.cost.memory import kv_bytes, plan_memory, stage_share
from servetwin.errors import InputError
from servetwin.types import Deployment, Model, Parallelism

__all__ = [
    "check_deployment",
    "check_fits",
    "check_parallelism",
    "fitting_length",
    "lower_max_model_len",
]

GB = 1e9
MOST_DEVICES = 64


def check_deployment(deployment: Deployment) -> None:
    """Raise InputError for the first thing that keeps the engine from starting."""
    check_parallelism(deployment.model, deployment.parallelism)
    _check_length(deployment)
    check_fits(deployment)


def check_parallelism(model: Model, parallelism: Parallelism) -> None:
    """Raise InputError where the model cannot be cut in this many pieces."""
    tp, pp, ep = parallelism.tp, parallelism.pp, parallelism.ep
    if not _heads_divide(model, tp):
        raise InputError(
            f"tp {tp} does not divide the {model.heads} attention heads and {model.kv_heads} "
            f"KV heads of {model.name}: tp can be {_listed(_possible_tp(model))}"
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


def _possible_tp(model: Model) -> list[int]:
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
    """Raise InputError where the weights, or one sequence of full length, do not fit.

    The message names the smallest number of GPUs that would do.
    """
    problem = _misfit(deployment)
    if not problem:
        return
    model, parallelism = deployment.model, deployment.parallelism
    for tp in _possible_tp(model):
        wider = replace(deployment, parallelism=replace(parallelism, tp=tp, ep=1))
        if tp > parallelism.tp and not _misfit(wider):
            count = wider.parallelism.devices
            raise InputError(f"{problem}; {count} GPUs would do (tp {tp})")
    raise InputError(f"{problem}; no tp up to {MOST_DEVICES} would do")


def _misfit(deployment: Deployment) -> str:
    """What does not fit, with gigabytes needed and available; "" if everything does."""
    model, settings = deployment.model, deployment.settings
    gpu = deployment.accelerator.name
    plan = plan_memory(deployment, settings.max_model_len)
    budget = deployment.accelerator.memory * settings.gpu_memory_utilization
    needed = plan.weights + plan.runtime
    if needed >= budget:
        return (
            f"{model.name} does not fit on {gpu} with tp {deployment.parallelism.tp}: weights and "
            f"runtime need {needed / GB:.1f} GB of each GPU, {budget / GB:.1f} GB are available"
        )
    if fitting_length(deployment) < settings.max_model_len:
        tp = deployment.parallelism.tp
        cache = kv_bytes(model, settings.max_model_len, settings.kv_cache_dtype, tp)
        return (
            f"one sequence of max-model-len {settings.max_model_len} does not fit on {gpu} with "
            f"tp {tp}: its KV cache needs {cache * stage_share(deployment) / GB:.1f} GB, "
            f"{plan.kv / GB:.1f} GB are available (max-model-len {fitting_length(deployment)} fits)"
        )
    return ""


def fitting_length(deployment: Deployment) -> int:
    """Longest sequence, up to max_model_len, that one engine's KV cache can hold."""
    low, high = 0, deployment.settings.max_model_len
    while low < high:
        middle = (low + high + 1) // 2
        if _holds(deployment, middle):
            low = middle
        else:
            high = middle - 1
    return low


def _holds(deployment: Deployment, length: int) -> bool:
    plan = plan_memory(deployment, length)
    blocks = plan.capacity_blocks // deployment.parallelism.dp
    return blocks * deployment.settings.block_size >= length


def lower_max_model_len(deployment: Deployment) -> tuple[Deployment, str]:
    """Shorten max_model_len to what the KV cache holds, as vLLM asks its user to.

    Returns the deployment as it is, and "", where nothing needs to change. For a length
    the user chose, call `check_fits` instead. Raises InputError where not even one block
    is left.
    """
    wanted, fits = deployment.settings.max_model_len, fitting_length(deployment)
    if fits == wanted:
        return deployment, ""
    if fits < deployment.settings.block_size:
        check_fits(deployment)
    settings = replace(deployment.settings, max_model_len=fits)
    return replace(deployment, settings=settings), (
        f"max-model-len lowered from {wanted} to {fits}: the KV cache holds no longer sequence"
    )
