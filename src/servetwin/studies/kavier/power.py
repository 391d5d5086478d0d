"""Energy of a closed-form run: power models on the load of its GPU, requests one by one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from servetwin.cost.energy import DevicePower, MetaModel, Rates
from servetwin.cost.energy.footprint import Footprint, Intervals, footprint
from servetwin.studies.kavier.load import load_of

if TYPE_CHECKING:
    from servetwin.sim.closed_form import ClosedFormResult
    from servetwin.types import Accelerator

__all__ = ["RunEnergy", "energy_gpu", "run_energy"]

Floats = NDArray[np.float64]

REQUESTS_AT_ONCE = 1 << 16
"""Requests whose load is held in memory."""

MEANS = {"mean": "mean", "median": "median", "weights": "weighted mean"}
"""What each way of combining the power models gives."""

PCIE_CARDS = {"A100-80GB": "A100-80GB-PCIe"}
"""Kavier's A100-80GB has the bandwidth of the PCIe card, so its watts are taken too."""


@dataclass(frozen=True)
class RunEnergy:
    """Energy and what follows from it, PUE left out of joules and inside the footprint."""

    joules: float
    joules_by_model: dict[str, float]
    mean_load: float
    """Of the GPU over time, 0 to 1."""
    footprint: Footprint
    gpu: str
    notes: tuple[str, ...]

    def describe(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "energy_gpu": self.gpu,
            "joules": self.joules,
            "joules_by_model": self.joules_by_model,
            **self.footprint.describe(),
        }


def energy_gpu(name: str, formulas: str) -> Accelerator:
    """The catalog's entry whose watts stand for a GPU of the command line. Raises InputError."""
    from servetwin.catalog import find_accelerator

    return find_accelerator(PCIE_CARDS.get(name, name) if formulas == "kavier" else name)


def run_energy(
    result: ClosedFormResult, gpu: Accelerator, rates: Rates, meta: MetaModel | None = None
) -> RunEnergy:
    """Energy of all requests, one after the other on one GPU that is never idle.

    `meta` combines the power models, which all see the same load; None takes the default.
    An hourly rate starts with the first request, and is averaged over each request. Raises
    InputError where the catalog has no power limit.
    """
    from servetwin.cost.energy import default_meta_model, device_power

    device, meta = device_power(gpu), meta or default_meta_model()
    seconds, joules = np.empty(len(result.workload)), np.empty(len(result.workload))
    by_model, loaded = np.zeros(len(meta.models)), 0.0
    for start in range(0, seconds.size, REQUESTS_AT_ONCE):
        some = slice(start, start + REQUESTS_AT_ONCE)
        pieces = load_of(result, some)
        load, lasting = pieces.load.ravel(), pieces.seconds.ravel()
        watts = np.stack([model.watts(load, device.idle, device.maximum) for model in meta.models])
        by_model += watts @ lasting
        loaded += float(load @ lasting)
        seconds[some] = pieces.seconds.sum(1)
        joules[some] = (meta.combine(watts) * lasting).reshape(pieces.load.shape).sum(1)
    return RunEnergy(
        joules=float(joules.sum()),
        joules_by_model={
            model.name: float(value) for model, value in zip(meta.models, by_model, strict=True)
        },
        mean_load=loaded / float(seconds.sum()),
        footprint=_footprint(result, seconds, joules, device, rates),
        gpu=gpu.name,
        notes=(*device.notes, _how(meta, device, gpu), *_overhead(rates)),
    )


def _footprint(
    result: ClosedFormResult, seconds: Floats, joules: Floats, device: DevicePower, rates: Rates
) -> Footprint:
    ran = seconds > 0
    lengths = seconds[ran]
    end = np.cumsum(lengths)
    series = Intervals(
        begin=end - lengths,
        end=end,
        watts=joules[ran] / lengths,
        idle_watts=np.full(lengths.size, device.idle),
        devices=1,
    )
    tokens = result.requests
    return footprint(
        series,
        rates,
        requests=seconds.size,
        input_tokens=int(tokens.input_tokens.sum()),
        output_tokens=int(tokens.output_tokens.sum()),
    )


def _overhead(rates: Rates) -> tuple[str, ...]:
    return () if rates.pue == 1 else (f"energy and carbon include a PUE of {rates.pue:g}",)


def _how(meta: MetaModel, device: DevicePower, gpu: Accelerator) -> str:
    return (
        f"energy: {MEANS[meta.how]} of {len(meta.models)} power models between "
        f"{device.idle:.0f} and {device.maximum:.0f} W ({gpu.name}), no idle time between requests"
    )
