"""What to know about the figures of a simulation, in sentences."""

from __future__ import annotations

from servetwin.sim.inputs import SimInputs
from servetwin.types import CostModel, Deployment, EngineSettings

__all__ = ["notes_of"]


def notes_of(deployment: Deployment, cost: CostModel, inputs: SimInputs) -> tuple[str, ...]:
    """What to know about costs and caches; of a decode pool what is not said already."""
    notes = (*cost.notes, *_cache_notes(deployment.settings, inputs), *_policy_notes(inputs))
    notes += _adapter_notes(inputs)
    for number, own in enumerate(cost.also, 2):
        notes += tuple(f"group {number}: {note}" for note in own.notes if note not in notes)
    if cost.decode is None or inputs.decode is None:
        return notes
    engine = inputs.decode.engine
    others = (*cost.decode.notes, *_cache_notes(engine.settings, engine))
    return (*notes, *(f"decode pool: {note}" for note in others if note not in notes))


def _adapter_notes(inputs: SimInputs) -> tuple[str, ...]:
    if inputs.settings.max_loras and inputs.workload.adapter is None:
        return ("the workload names no LoRA adapters: only their memory is taken",)
    if not inputs.settings.max_loras and inputs.workload.adapter is not None:
        return ("the workload names LoRA adapters, which the engine has not without --max-loras",)
    return ()


def _policy_notes(inputs: SimInputs) -> tuple[str, ...]:
    pools = (inputs,) if inputs.decode is None else (inputs, inputs.decode.engine)
    heeded = any(pool.settings.by_priority for pool in pools)
    if heeded and inputs.workload.priority is None:
        return ("the workload has no priorities: the scheduling policy finds all requests alike",)
    if not heeded and inputs.workload.priority is not None:
        return ("the workload has priorities, which --scheduling-policy fcfs does not heed",)
    return ()


def _cache_notes(settings: EngineSettings, inputs: SimInputs) -> tuple[str, ...]:
    if not settings.enable_prefix_caching or inputs.prefixes is not None:
        return _tiers_left_out(settings, inputs)
    if inputs.workload.block_hashes is None:
        return (
            "the workload does not say which inputs begin alike, so prefix caching finds nothing: "
            "a real engine may prefill less",
        )
    return (
        f"no input has a full KV block of {settings.block_size} tokens, so prefix caching finds "
        "nothing",
    )


def _tiers_left_out(settings: EngineSettings, inputs: SimInputs) -> tuple[str, ...]:
    kept = {tier.name for tier in inputs.tiers}
    left_out = [tier.name for tier in settings.kv_tiers if tier.name not in kept]
    if not left_out:
        return ()
    return (f"KV tiers without bandwidth or room for a block are left out: {', '.join(left_out)}",)
