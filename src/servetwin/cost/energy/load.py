"""From a device's two utilisations to the one number that decides its power: its load.

`load = min(1, active + memory * M + compute * sqrt(C))` while the device has work, as a share
of the range from idle to the power limit; `M` and `C` are the memory and compute utilisation
of the roofline. `active` is what clocks and schedulers take as soon as anything runs. The
root says that the first few per cent of arithmetic cost most (measured: from 8 to 128
sequences an H100 draws 30 % more at equal memory traffic). `tools/fit_power.py` fits the
three coefficients; `docs/background/energy.md` states the errors.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from servetwin.cost.energy.meta_power import MetaModel
from servetwin.cost.energy.utilization import Utilization
from servetwin.errors import InputError
from servetwin.types import Accelerator

__all__ = [
    "DevicePower",
    "LoadCurve",
    "ServerPower",
    "default_meta_model",
    "device_power",
    "read_power",
    "server_power",
]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LoadCurve:
    """Coefficients of the load, shares of the range from idle to the limit."""

    active: float
    memory: float
    compute: float

    def load(self, used: Utilization) -> Floats:
        """Load while working; shape (n,), in 0..1."""
        total = self.active + self.memory * used.memory + self.compute * np.sqrt(used.compute)
        return np.asarray(np.minimum(1.0, total))


@dataclass(frozen=True)
class DevicePower:
    """Everything power needs to know of one kind of device. Watts."""

    curve: LoadCurve
    idle: float
    """With the engine's weights loaded and nothing to do."""
    maximum: float
    standby: float
    """After work, until `standby_seconds` have passed; `idle` where none was measured."""
    standby_seconds: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ServerPower:
    """Watts of a whole server from those of its devices: `base + factor * devices`.

    The factor holds what the power supply loses and what host and fans add under load.
    """

    base: float
    factor: float

    def watts(self, devices: Floats) -> Floats:
        """Watts at the plug; same shape as `devices`, the sum over the server's devices."""
        return np.asarray(self.base + self.factor * devices)


@cache
def read_power() -> Mapping[str, Any]:
    """The packaged table as plain dictionaries."""
    text = resources.files("servetwin.cost").joinpath("data/power.toml").read_text("utf-8")
    return tomllib.loads(text)


def device_power(accelerator: Accelerator) -> DevicePower:
    """Power of an accelerator of the catalog.

    Raises InputError where the catalog knows no power limit. A device without idle watts
    gets the mean share of the others, and a note.
    """
    table = read_power()
    if accelerator.max_watts is None:
        raise InputError(
            f"{accelerator.name} has no max_watts in the catalog, so its power is not known: "
            "choose another GPU, or leave energy out"
        )
    limit, notes = accelerator.max_watts, []
    own = next((row for row in table["device"] if accelerator.name in row["applies_to"]), None)
    idle = accelerator.idle_watts
    if idle is None:
        idle = table["assumed_idle_share"] * limit
        notes.append(
            f"{accelerator.name}: idle power is not known; {idle:.0f} W assumed, the mean share "
            "of the devices whose idle power is"
        )
    curve = LoadCurve(**table["load"])
    if own is None:
        if accelerator.name not in table["measured"]:
            notes.append(f"no power measurements of {accelerator.name}: fitted to other devices")
        return DevicePower(curve, idle, limit, idle, 0.0, tuple(notes))
    if accelerator.name != own["measured_on"]:
        notes.append(f"power of {accelerator.name}: fitted to {own['measured_on']}, same chip")
    idle = max(idle, own["loaded_idle_share"] * limit)
    return DevicePower(
        curve=LoadCurve(curve.active, own["memory"], curve.compute),
        idle=idle,
        maximum=limit,
        standby=max(idle, own["standby_share"] * limit),
        standby_seconds=own["standby_seconds"],
        notes=tuple(notes),
    )


def default_meta_model() -> MetaModel:
    """The eight models with the combination that did best on held-out measurements."""
    table = read_power()["meta_model"]
    if table["how"] == "weights":
        return MetaModel(how="weights", weights=tuple(table["weights"]))
    return MetaModel(how=table["how"])


def server_power() -> ServerPower:
    """The one server that was measured (dual socket, one RTX A6000 in use)."""
    return ServerPower(**read_power()["server"])
