"""A folder of kernel timings -> the CostModel of a deployment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from servetwin.catalog import find_accelerator, find_model
from servetwin.cost.derive import derive
from servetwin.cost.lora import with_adapters
from servetwin.cost.profiles.iteration import Tuning, missing_parts, profiled_iteration
from servetwin.cost.profiles.kernels import has_kernels, read_kernels
from servetwin.cost.profiles.timings import LayerTimings
from servetwin.cost.profiles.vidur import has_vidur, read_vidur
from servetwin.cost.profiles.vllm_layers import (
    LayerProfile,
    find_layer_profiles,
    read_layer_profile,
)
from servetwin.cost.speculation import speculate
from servetwin.errors import InputError
from servetwin.types import CostModel, Deployment

__all__ = ["cost_from_profiles", "find_timings"]

_DEFAULTS = Tuning()


def cost_from_profiles(
    deployment: Deployment,
    folder: Path,
    typical_context: int,
    *,
    lengths: NDArray[np.integer] | None = None,
    tuning: Tuning = _DEFAULTS,
) -> CostModel:
    """Cost and memory of one engine from the timings in `folder`.

    Memory is planned as by `derive`, whose arguments `typical_context` and `lengths` are.
    What nobody timed comes from the roofline, and a note names it. Raises InputError where
    the folder holds nothing for this device, model or tp.
    """
    timings = find_timings(deployment, folder)
    derived = derive(deployment, typical_context, lengths)
    missing = missing_parts(deployment, timings)
    # Whether the roofline's efficiency is known matters only where the roofline is used.
    notes = tuple(n for n in derived.notes if missing or not n.startswith("no kernel timings of"))
    if missing:
        notes += (f"not timed, so from the roofline: {', '.join(missing)}",)
    return replace(
        derived,
        iteration=with_adapters(
            speculate(profiled_iteration(deployment, timings, tuning), deployment), deployment
        ),
        level="profiled",
        source=timings.source,
        notes=(*notes, *timings.notes),
    )


def find_timings(deployment: Deployment, folder: Path) -> LayerTimings:
    """Find and read the timings in `folder` that fit a deployment."""
    if not folder.is_dir():
        raise InputError(f"{folder}: a folder of kernel timings is needed")
    profiles = find_layer_profiles(folder)
    if profiles:
        return _from_layers(deployment, folder, profiles)
    if has_vidur(folder):
        return read_vidur(deployment, folder)
    if has_kernels(folder):
        return read_kernels(deployment, folder)
    raise InputError(
        f"{folder}: no kernel timings found: neither meta.yaml with tpN/dense.csv (vLLM layer "
        "profiles), nor *_mlp.csv (Vidur), nor *gemm_perf.parquet (aiconfigurator)"
    )


def _from_layers(
    deployment: Deployment, folder: Path, profiles: list[LayerProfile]
) -> LayerTimings:
    """Choose a vLLM layer profile by device, model, weight format and tp."""
    fitting = [profile for profile in profiles if _is_of(deployment, profile)]
    if not fitting:
        there = sorted({f"{profile.model} on {profile.gpu}" for profile in profiles})
        raise InputError(
            f"{folder}: no timings of {deployment.model.name} on {deployment.accelerator.name}; "
            f"there are: {', '.join(there)}{_elsewhere(folder)}"
        )
    tp, dtype = deployment.parallelism.tp, deployment.settings.weight_dtype
    alike = [profile for profile in fitting if profile.variant == dtype]
    if not alike:
        variants = ", ".join(sorted({profile.variant for profile in fitting}))
        raise InputError(f"{folder}: no timings with {dtype} weights; there are: {variants}")
    for profile in alike:
        if tp in profile.degrees:
            return read_layer_profile(profile, tp)
    degrees = sorted({degree for profile in alike for degree in profile.degrees})
    raise InputError(
        f"{folder}: no timings with tp {tp}; there are: {', '.join(map(str, degrees))}"
    )


def _elsewhere(folder: Path) -> str:
    """Name subfolders with timings in other formats, which are read where they are named."""
    below = sorted(path for path in folder.iterdir() if path.is_dir())
    found = [str(path) for path in below if has_vidur(path) or has_kernels(path)]
    return f"; timings in other formats are in {' and '.join(found)}: name one" if found else ""


def _is_of(deployment: Deployment, profile: LayerProfile) -> bool:
    """Whether a profile is of this device and of a model of these shapes."""
    try:
        accelerator, model = find_accelerator(profile.gpu), find_model(profile.model)
    except InputError:
        return False
    ours = deployment.model
    same_shape = replace(
        model,
        name=ours.name,
        source=ours.source,
        published_parameters=ours.published_parameters,
        max_model_len=ours.max_model_len,
    )
    return accelerator.name == deployment.accelerator.name and same_shape == ours
