"""Derived costs moved towards measurements of one model on one GPU, only where asked.

Three numbers: how much of the roofline's efficiency the matrix products really reached, in
arithmetic and in memory traffic, and a constant for each prompt. Packaged ones lie in
`data/corrections.toml` with the points they were fitted to and the error on all others.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from servetwin.cost.curves import curves_for
from servetwin.cost.derive import derive, derive_iteration
from servetwin.errors import InputError, nearest
from servetwin.sim.closed_form.servetwin import Servetwin
from servetwin.types import CostModel, Deployment
from servetwin.units import PS_PER_S

__all__ = [
    "Correction",
    "LoneRequests",
    "apply_correction",
    "corrections",
    "every_other",
    "find_correction",
    "fit_correction",
]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

TYPICAL_CONTEXT = 1000
"""For the memory plan, which no time depends on."""

OUTLIER = 0.03
"""Relative error from which on a point counts by its error, not by the square of it."""


@dataclass(frozen=True)
class Correction:
    """Factors on the efficiency of matrix products, and seconds added to each prompt chunk."""

    compute: float
    memory: float
    prompt_s: float
    model: str = ""
    """Catalog name of the only model it holds for; "" for any."""
    gpu: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        if not (self.compute > 0 and self.memory > 0 and self.prompt_s >= 0):
            raise ValueError("factors must be positive and seconds not negative")


@dataclass(frozen=True)
class LoneRequests:
    """Measured requests that ran alone: seconds until the first token, and until the last.

    Columns have one entry a point; NaN where one of the two was not measured.
    """

    input_tokens: Ints
    output_tokens: Ints
    prefill_s: Floats
    total_s: Floats

    def part(self, chosen: NDArray[np.bool_]) -> LoneRequests:
        """Return the points that `chosen` marks."""
        names = self.__dataclass_fields__
        return LoneRequests(**{name: getattr(self, name)[chosen] for name in names})

    def errors(self, model: Servetwin) -> Floats:
        """Predicted over measured, less 1: of the prefills, then of the totals."""
        prefill = model.prefill(self.input_tokens)
        total = prefill + model.decode(self.input_tokens, self.output_tokens)
        ratio = np.concatenate([prefill / self.prefill_s, total / self.total_s])
        return np.asarray(ratio[~np.isnan(ratio)] / PS_PER_S - 1)


@cache
def corrections() -> Mapping[str, Correction]:
    """Every packaged correction by name."""
    table = resources.files("servetwin.sim.closed_form").joinpath("data/corrections.toml")
    entries: dict[str, Any] = tomllib.loads(table.read_text("utf-8"))
    return {name: Correction(**entry) for name, entry in entries.items()}


def find_correction(name: str) -> Correction:
    """Return a packaged correction; raises InputError for a name that is not known."""
    known = corrections()
    if name not in known:
        hint = nearest(name, known) or f"known: {', '.join(known)}"
        raise InputError(f"correction '{name}' is not known: {hint}")
    return known[name]


def apply_correction(deployment: Deployment, correction: Correction) -> CostModel:
    """Derive costs with corrected efficiencies.

    Raises InputError where the correction belongs to another model or GPU.
    """
    for kind, wanted, given in (
        ("model", correction.model, deployment.model.name),
        ("GPU", correction.gpu, deployment.accelerator.name),
    ):
        if wanted and wanted != given:
            raise InputError(f"the correction holds for the {kind} {wanted} alone, not {given}")
    curves = curves_for(deployment.accelerator.name)
    gemm = replace(
        curves.gemm,
        compute=curves.gemm.compute * correction.compute,
        memory=curves.gemm.memory * correction.memory,
    )
    iteration = derive_iteration(deployment, replace(curves, gemm=gemm))
    prompt = iteration.prefill_chunk + round(correction.prompt_s * PS_PER_S)
    derived = derive(deployment, TYPICAL_CONTEXT)
    return replace(
        derived,
        iteration=replace(iteration, prefill_chunk=prompt),
        source=f"{derived.source}; corrected: {correction.source or 'no source given'}",
    )


def every_other(points: int, first: int = 0) -> NDArray[np.bool_]:
    """Mark every second of `points`, from `first` on: those to fit to."""
    return np.asarray(np.arange(points) % 2 == first % 2)


def fit_correction(deployment: Deployment, points: LoneRequests) -> Correction:
    """Fit the three numbers to relative errors, robust against single outliers."""
    from scipy.optimize import least_squares

    def errors(values: Floats) -> Floats:
        tried = Correction(float(values[0]), float(values[1]), float(values[2]))
        return points.errors(Servetwin(deployment, apply_correction(deployment, tried)))

    bounds = ([0.05, 0.3, 0.0], [2.0, 1.5, 1.0])
    found = least_squares(errors, [0.5, 1.0, 0.005], loss="soft_l1", f_scale=OUTLIER, bounds=bounds)
    compute, memory, prompt_s = (float(value) for value in found.x)
    return Correction(
        compute,
        memory,
        prompt_s,
        model=deployment.model.name,
        gpu=deployment.accelerator.name,
    )
