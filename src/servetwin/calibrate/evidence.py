"""The measurement that is nearest to a simulated run, and in what the two differ."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from servetwin.calibrate.residuals import read_table
from servetwin.catalog import count_parameters, find_accelerator
from servetwin.cost.curves import curves_for
from servetwin.errors import InputError
from servetwin.types import Deployment, Model

__all__ = ["Subject", "kind_of", "left_out", "nearest", "subject_of"]

ENGINE = "vLLM"
"""The engine whose scheduler is simulated."""

LARGER = 1.25
"""Ratio of parameter counts from which on one model is called larger than another."""


@dataclass(frozen=True)
class Subject:
    """What a run is of, as far as its figures depend on it."""

    gpu: str
    model: str
    kind: str
    """`dense`, `mixture of experts`, …: see `kind_of`."""
    parameters: float
    weights: str
    level: str
    engine: str = ENGINE


def subject_of(deployment: Deployment, level: str) -> Subject:
    """Describe a deployment."""
    return Subject(
        gpu=deployment.accelerator.name,
        model=deployment.model.name,
        kind=kind_of(deployment.model),
        parameters=float(count_parameters(deployment.model).total),
        weights=deployment.settings.weight_dtype,
        level=level,
    )


def kind_of(model: Model) -> str:
    """Dense, or a mixture of experts; with latent attention where it has that."""
    kind = "dense" if model.mixture is None else "mixture of experts"
    return kind if model.latent is None else f"{kind} with latent attention"


def nearest(
    subject: Subject, table: Sequence[Mapping[str, Any]] | None = None
) -> dict[str, Any] | None:
    """Return the nearest measurement: `what` it is, how it `differs`, its points and errors.

    None where there is none at all. GPU and model weigh most, then weights and engine, then
    the level of the costs with which it was predicted.
    """
    entries = read_table().get("evidence", ()) if table is None else table
    ranked = [(sum(weight for weight, _ in _differences(subject, e)), e) for e in entries]
    if not ranked:
        return None
    _, best = min(ranked, key=lambda pair: (pair[0], -pair[1]["points"]))
    return {
        "what": f"{best['model']} ({best['weights']}) on {best['gpu']} with {best['engine']}",
        "source": best["source"],
        "level": best["level"],
        "differs": [text for _, text in _differences(subject, best) if text],
        "points": best["points"],
        "median_error": dict(best["error"]),
    }


def left_out(subject: Subject) -> tuple[str, ...]:
    """Name measurements of this very model and GPU that do not count as evidence, and why."""
    from servetwin.sim.closed_form.correction import corrections

    pairs = {(known.model, known.gpu) for known in corrections().values()}
    if (subject.model, subject.gpu) not in pairs:
        return ()
    return (
        f"not among the measurements: Kavier's runs of this model on the {subject.gpu}, one "
        "request at a time on an engine that is not stated; their prefills took about twice as "
        "long as derived costs say (servetwin study kavier-1.1)",
    )


def _differences(subject: Subject, entry: Mapping[str, Any]) -> list[tuple[float, str]]:
    """Each difference with its weight, in words."""
    found = [_gpu(subject.gpu, entry["gpu"]), _model(subject, entry)]
    for name, weight in (("weights", 1.0), ("engine", 1.0), ("level", 0.5)):
        ours, theirs = getattr(subject, name), entry[name]
        if ours != theirs:
            what = {"weights": "weights", "engine": "engine", "level": "costs"}[name]
            found.append((weight, f"{what} {theirs} instead of {ours}"))
    return found


def _gpu(ours: str, theirs: str) -> tuple[float, str]:
    if ours == theirs:
        return 0.0, ""
    try:
        first, second = find_accelerator(ours), find_accelerator(theirs)
    except InputError:
        return 8.0, "another GPU"
    chips = [curves_for(name).name for name in (ours, theirs)]
    if chips[0] == chips[1] != "default":
        return 1.0, f"{theirs} instead of {ours}, the same chip"
    if first.vendor == second.vendor:
        ratio = abs(math.log2(first.bandwidth / second.bandwidth))
        return 2.0 + min(ratio, 2.0) / 2, f"{theirs} instead of {ours}, of the same vendor"
    return 8.0, f"{theirs} instead of {ours}, of another vendor"


def _model(subject: Subject, entry: Mapping[str, Any]) -> tuple[float, str]:
    if subject.model == entry["model"]:
        return 0.0, ""
    ratio = entry["parameters"] / subject.parameters
    weight = 0.5 + abs(math.log2(ratio)) / 2
    size = "of similar size"
    if not 1 / LARGER < ratio < LARGER:
        size = f"{max(ratio, 1 / ratio):.2g} times as {'large' if ratio > 1 else 'small'}"
    if subject.kind == entry["kind"]:
        return weight, f"another {subject.kind} model, {size}"
    return weight + 2.0, f"a {entry['kind']} model instead of {subject.kind}, {size}"
