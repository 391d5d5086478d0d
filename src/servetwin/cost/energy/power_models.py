"""The power models of the OpenDC family: watts from a single utilisation.

Every model is `P = idle + (max - idle) * f(u)` with `u` in 0..1 (OpenDC; the multi-model
experiment of M3SA). What `f` is:

| kind | f(u) | parameter |
|---|---|---|
| constant | 1 | |
| sqrt | u^(1/2) | |
| linear | u | |
| square | u^2 | |
| cubic | u^3 | |
| mse | 2u - u^r | r: 1.4 in the literature, 0.7 as some defaults |
| asymptotic | (1 + u - e^(-u/a)) / 2 | a |
| asymptotic-dvfs | (1 + u^3 - e^(-u^3/a)) / 2 | a |

Two of them leave 0..1 or fall short of it. `mse` with r = 0.7 is negative for u < 0.099: it
is clamped to idle, and `clamped` says where. The asymptotic ones reach only
`1 - e^(-1/a) / 2` at u = 1 (0.846 for a = 0.85, 0.705 for a = 1.9): they are left so, as in
the original, unless `renormalise` divides by that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from servetwin.errors import InputError, nearest

__all__ = ["EIGHT", "KINDS", "PowerModel", "find_power_model"]

Floats = NDArray[np.float64]
KINDS = ("constant", "sqrt", "linear", "square", "cubic", "mse", "asymptotic", "asymptotic-dvfs")
PARAMETRIC = ("mse", "asymptotic", "asymptotic-dvfs")
TOLERANCE = 1e-9
"""Utilisation may miss 0..1 by so much, from rounding; it is then clamped."""


@dataclass(frozen=True)
class PowerModel:
    """One model. `parameter` is r of `mse` and a of the asymptotic ones, else unused."""

    name: str
    kind: str
    parameter: float = 0.0
    renormalise: bool = False
    """Divide an asymptotic model by its value at u = 1, so that full load takes max watts."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            hint = nearest(self.kind, KINDS) or f"known: {', '.join(KINDS)}"
            raise InputError(f"power model '{self.kind}' is not known: {hint}")
        if self.kind in PARAMETRIC and not (0.0 < self.parameter < float("inf")):
            letter = "r" if self.kind == "mse" else "a"
            raise InputError(
                f"power model {self.kind}: {letter} = {self.parameter:g} must be a finite "
                "number above 0"
            )

    def share(self, utilization: ArrayLike) -> Floats:
        """f(u), clamped to 0..1; same shape as `utilization`. ValueError outside 0..1."""
        return np.clip(self._raw(checked(utilization)), 0.0, 1.0)

    def clamped(self, utilization: ArrayLike) -> NDArray[np.bool_]:
        """Where f(u) leaves 0..1 by more than rounding, so that `share` clamps it."""
        raw = self._raw(checked(utilization))
        return np.asarray((raw < -TOLERANCE) | (raw > 1.0 + TOLERANCE))

    def watts(self, utilization: ArrayLike, idle: float, maximum: float) -> Floats:
        """Watts at a utilisation, for a device between `idle` and `maximum` watts."""
        if not 0.0 <= idle <= maximum:
            raise ValueError(f"idle {idle:g} W must lie between 0 and max {maximum:g} W")
        return np.asarray(idle + (maximum - idle) * self.share(utilization))

    def _raw(self, u: Floats) -> Floats:
        match self.kind:
            case "constant":
                return np.ones_like(u)
            case "sqrt":
                return np.sqrt(u)
            case "linear":
                return u
            case "square":
                return u**2
            case "cubic":
                return np.asarray(u**3)
            case "mse":
                return np.asarray(2.0 * u - u**self.parameter)
        x = u if self.kind == "asymptotic" else u**3
        value = (1.0 + x - np.exp(-x / self.parameter)) / 2.0
        full = 1.0 - np.exp(-1.0 / self.parameter) / 2.0
        return np.asarray(value / full if self.renormalise else value)


def checked(utilization: ArrayLike) -> Floats:
    """The utilisation as an array, clamped within rounding; ValueError for anything else."""
    u = np.asarray(utilization, dtype=np.float64)
    if u.size and not (u.min() >= -TOLERANCE and u.max() <= 1.0 + TOLERANCE):
        raise ValueError("utilisation must lie between 0 and 1")
    return np.clip(u, 0.0, 1.0)


EIGHT = (
    PowerModel("sqrt", "sqrt"),
    PowerModel("linear", "linear"),
    PowerModel("square", "square"),
    PowerModel("cubic", "cubic"),
    PowerModel("mse-0.7", "mse", 0.7),
    PowerModel("asymptotic-0.85", "asymptotic", 0.85),
    PowerModel("asymptotic-dvfs-0.85", "asymptotic-dvfs", 0.85),
    PowerModel("asymptotic-dvfs-1.9", "asymptotic-dvfs", 1.9),
)
"""The eight of the multi-model experiment, with its parameters."""


def find_power_model(name: str) -> PowerModel:
    """The model of a name: one of EIGHT, a kind, or `kind-parameter` such as mse-1.4.

    Raises InputError for a name that is not known or a parameter that is not possible.
    """
    folded = name.casefold().replace("_", "-")
    for model in EIGHT:
        if model.name == folded:
            return model
    kind, _, number = folded.rpartition("-")
    if kind in PARAMETRIC:
        try:
            return PowerModel(folded, kind, float(number))
        except ValueError:
            pass
    if folded in KINDS and folded not in PARAMETRIC:
        return PowerModel(folded, folded)
    known = [*(model.name for model in EIGHT), "constant", "mse-1.4"]
    hint = nearest(name, known) or f"known: {', '.join(known)}"
    raise InputError(f"power model '{name}' is not known: {hint}")
