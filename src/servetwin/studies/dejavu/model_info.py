"""Times of a whole model by batch size: from a `model_info.json`, or from our cost model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from servetwin.errors import InputError, nearest

__all__ = ["MODELS", "ModelTimes", "PlannedModel", "derived_times", "planned_model", "read_times"]

PROMPT_TOKENS = 1000
"""The prompt for which the planner sizes memory; ours are the times of such prompts."""
CONTEXT_TOKENS = 1500
"""Of a decoded token: midway from the prompt to the 2,000 that memory is sized for."""


@dataclass(frozen=True)
class PlannedModel:
    """What the planner knows of a model, as published (decimal GB)."""

    size_gb: float
    kv_gb_per_token: float
    catalog: str
    batch_sizes: tuple[int, ...] = (1, 2, 4, 8, 16)
    """For which our cost model is asked, ascending, each dividing the last."""


MODELS: Mapping[str, PlannedModel] = {
    "OPT-13B": PlannedModel(26, 0.00085, "facebook/opt-13b"),
    "OPT-30B": PlannedModel(60, 0.001375, "facebook/opt-30b", (1, 2, 4, 8)),
    "OPT-66B": PlannedModel(132, 0.00236, "facebook/opt-66b", (16, 32, 64)),
    "OPT-175B": PlannedModel(350, 0.00483, "facebook/opt-175b", (8, 16)),
    "BLOOM-176B": PlannedModel(352, 0.004, "bigscience/bloom", (8, 16)),
}


@dataclass(frozen=True)
class ModelTimes:
    """Milliseconds that the whole model takes for a prompt and a token of a microbatch."""

    model: str
    prompt_ms: Mapping[int, float]
    """By batch size, ascending."""
    token_ms: Mapping[int, float]
    source: str
    measured: bool = True
    """From a file, not from our cost model."""

    @property
    def batch_sizes(self) -> list[int]:
        return list(self.prompt_ms)


def planned_model(name: str) -> tuple[str, PlannedModel]:
    """Look a model up by the planner's name; case does not matter. Raises InputError."""
    for known, model in MODELS.items():
        if known.casefold() == name.strip().casefold():
            return known, model
    hint = nearest(name, MODELS) or f"known are {', '.join(MODELS)}"
    raise InputError(f"--model '{name}': {hint}")


def derived_times(name: str, gpu: str, gpus: int) -> ModelTimes:
    """Times on one machine of `gpus` devices, with tensor parallelism over them.

    From the derived cost model, for static batches of prompts of PROMPT_TOKENS and tokens at
    CONTEXT_TOKENS. Raises InputError for a device that is not in the catalog, and where the
    model cannot be divided among so many.
    """
    prompt_ms, token_ms, source = {}, {}, ""
    known, planned = planned_model(name)
    for batch in planned.batch_sizes:
        prompt_ms[batch], token_ms[batch], source = _derived(planned.catalog, (gpu, gpus), batch)
    about = f"{source}; prompts of {PROMPT_TOKENS:,} tokens, tokens at {CONTEXT_TOKENS:,}"
    return ModelTimes(known, prompt_ms, token_ms, f"our cost model, {gpus} x {about}", False)


def _derived(catalog: str, devices: tuple[str, int], batch: int) -> tuple[float, float, str]:
    from servetwin.catalog import find_accelerator, find_link, find_model
    from servetwin.cost import derive, resolve_settings
    from servetwin.sim.reference.cost import duration
    from servetwin.sim.reference.state import Batch, Request, Work
    from servetwin.types import Deployment, Parallelism
    from servetwin.units import PS_PER_MS

    gpu, gpus = devices
    model, accelerator = find_model(catalog), find_accelerator(gpu)
    settings = resolve_settings(
        model,
        accelerator,
        scheduler="static",
        max_num_seqs=batch,
        max_num_batched_tokens=batch * PROMPT_TOKENS,
    )
    if model.heads % gpus:
        raise InputError(f"--gpus_per_machine {gpus}: must divide the {model.heads} heads")
    layout = Parallelism(tp=gpus)
    target = Deployment(model, accelerator, find_link(accelerator.link), layout, settings)
    cost = derive(target, CONTEXT_TOKENS)
    anyone = Request(0, PROMPT_TOKENS, CONTEXT_TOKENS, arrival=0)
    prompt = Work(anyone, PROMPT_TOKENS, 0, decode=False, samples=True)
    token = Work(anyone, 1, CONTEXT_TOKENS - 1, decode=True, samples=True)
    times = (duration(cost.iteration, Batch([work] * batch)) for work in (prompt, token))
    prompt_ms, token_ms = (time / PS_PER_MS for time in times)
    return prompt_ms, token_ms, accelerator.name


def read_times(path: Path, name: str) -> ModelTimes:
    """Read `{model: {measurements_per_bs: {b: [prompt, token]}, batch_sizes: [...]}}`.

    Raises InputError that names the key which is missing or wrong.
    """
    from servetwin.workload.parsing.json_text import json_document

    content = json_document(path)
    known = list(content) if isinstance(content, dict) else []
    found = next((key for key in known if key.casefold() == name.casefold()), None)
    if found is None:
        hint = nearest(name, known) or f"it has {', '.join(known)}"
        raise InputError(f"{path}: no model '{name}'; {hint}")
    entry = content[found]
    measured = _part(path, found, entry, "measurements_per_bs", dict)
    sizes = _part(path, found, entry, "batch_sizes", list)
    _check_sizes(path, found, sizes)
    rows = {int(size): _pair(path, found, measured, str(size)) for size in sizes}
    return ModelTimes(
        planned_model(name)[0],
        {size: pair[0] for size, pair in rows.items()},
        {size: pair[1] for size, pair in rows.items()},
        str(path),
    )


def _part(path: Path, model: str, entry: Any, key: str, kind: type) -> Any:
    value = entry.get(key) if isinstance(entry, dict) else None
    if not isinstance(value, kind) or not value:
        raise InputError(f"{path}, key {model}.{key}: a {kind.__name__} with entries is needed")
    return value


def _check_sizes(path: Path, model: str, sizes: Sequence[Any]) -> None:
    whole = all(type(size) is int and size > 0 for size in sizes)
    if not whole or any(b <= a for a, b in pairwise(sizes)):
        raise InputError(f"{path}, key {model}.batch_sizes: must be whole numbers that ascend")


def _pair(path: Path, model: str, measured: Mapping[str, Any], size: str) -> tuple[float, float]:
    value = measured.get(size)
    try:
        prompt, token = (float(part) for part in value)  # type: ignore[union-attr]
    except (TypeError, ValueError):
        prompt, token = -1.0, -1.0
    if not (0 < prompt < float("inf") and 0 < token < float("inf")):
        raise InputError(
            f"{path}, key {model}.measurements_per_bs.{size}: must be [prompt ms, token ms]"
        )
    return prompt, token
