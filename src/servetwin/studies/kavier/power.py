"""Energy of a closed-form run: power models on its GPU utilisation, requests one by one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from servetwin.cost.energy import DevicePower, MetaModel, Rates, Utilization
from servetwin.cost.energy.footprint import Footprint, Intervals, footprint
from servetwin.units import PS_PER_S

if TYPE_CHECKING:
    from servetwin.sim.closed_form import ClosedFormResult
    from servetwin.types import Accelerator

__all__ = ["RunEnergy", "energy_gpu", "run_energy"]

Floats = NDArray[np.float64]

SAMPLES = 4
"""Utilisations taken along the straight middle piece of a request."""
REQUESTS_AT_ONCE = 1 << 16

MEANS = {"mean": "mean", "median": "median", "weights": "weighted mean"}
"""What each way of combining the power models gives."""

PCIE_CARDS = {"A100-80GB": "A100-80GB-PCIe"}
"""Kavier's A100-80GB has the bandwidth of the PCIe card, so its watts are taken too."""


@dataclass(frozen=True)
class RunEnergy:
    """Energy and what follows from it, PUE left out of joules and inside the footprint."""

    joules: float
    joules_by_model: dict[str, float]
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


def run_energy(result: ClosedFormResult, gpu: Accelerator, rates: Rates) -> RunEnergy:
    """Energy of all requests, one after the other on one GPU that is never idle.

    Each power model of the meta-model sees the utilisation of the closed form: for `kavier`
    as published, for `servetwin` the load fitted to measurements. An hourly rate starts with
    the first request. Raises InputError where the catalog has no power limit.
    """
    from servetwin.cost.energy import default_meta_model, device_power

    device, meta = device_power(gpu), default_meta_model()
    requests = result.requests
    seconds = (requests.prefill + requests.decode) / PS_PER_S
    joules, by_model = np.empty(seconds.size), np.zeros(len(meta.models))
    for start in range(0, seconds.size, REQUESTS_AT_ONCE):
        some = slice(start, start + REQUESTS_AT_ONCE)
        joules[some] = 0.0
        for share, load in _pieces(result, device, some):
            watts = np.stack(
                [model.watts(load, device.idle, device.maximum) for model in meta.models]
            )
            joules[some] += meta.combine(watts) * share
            by_model += watts @ share
    return RunEnergy(
        joules=float(joules.sum()),
        joules_by_model={
            model.name: float(value) for model, value in zip(meta.models, by_model, strict=True)
        },
        footprint=_footprint(result, seconds, joules, device, rates),
        gpu=gpu.name,
        notes=(*device.notes, _how(meta, device, gpu), *_overhead(rates)),
    )


def _pieces(
    result: ClosedFormResult, device: DevicePower, some: slice
) -> list[tuple[Floats, Floats]]:
    """Seconds and load of each request's pieces: head, samples along the middle, tail."""
    requests = result.requests.part(some)
    phases = result.model.phases(requests, result.options.kv_cache)
    whole = requests.prefill + requests.decode
    begin, end = np.minimum(phases.begin, whole), np.minimum(phases.end, whole)
    middle = (end - begin) / PS_PER_S / SAMPLES
    slope = phases.last - phases.first
    fitted = result.model.name != "kavier"

    def load(used: Floats, compute: bool) -> Floats:
        if not fitted:
            return used
        none = np.zeros_like(used)
        shares = (used, none) if compute else (none, used)
        return device.curve.load(Utilization(*shares, busy=np.ones_like(used)))

    pieces = [(begin / PS_PER_S, load(phases.head, True))]
    for sample in range(SAMPLES):
        used = phases.first + slope * ((sample + 0.5) / SAMPLES)
        pieces.append((middle, load(used, not result.options.kv_cache)))
    pieces.append(((whole - end) / PS_PER_S, load(phases.tail, False)))
    return pieces


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
