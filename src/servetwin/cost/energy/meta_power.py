"""The multi-model and its meta-model: several power models on one utilisation series."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from servetwin.cost.energy.power_models import EIGHT, PowerModel
from servetwin.errors import InputError

__all__ = ["COMBINATIONS", "Band", "MetaModel"]

Floats = NDArray[np.float64]
COMBINATIONS = ("mean", "median", "weights")


@dataclass(frozen=True)
class Band:
    """What the models say at every time step; arrays of shape (n,), watts of one device."""

    watts: Floats
    """Of the meta-model."""
    low: Floats
    high: Floats
    """Least and most that any model says."""
    p10: Floats
    p90: Floats
    """Percentiles over the models, linearly interpolated."""
    by_model: Floats
    """Shape (models, n), in the order of the models."""


@dataclass(frozen=True)
class MetaModel:
    """Power models that see the same utilisation, combined at each time step."""

    models: tuple[PowerModel, ...] = EIGHT
    how: str = "median"
    """`mean`, `median` or `weights`."""
    weights: tuple[float, ...] | None = None
    """One for each model, not negative, of sum 1, so that the result stays in the band."""

    def __post_init__(self) -> None:
        if not self.models:
            raise InputError("a meta-model needs at least one power model")
        if self.how not in COMBINATIONS:
            raise InputError(f"meta-model '{self.how}': choose {', '.join(COMBINATIONS)}")
        if (self.how == "weights") != (self.weights is not None):
            raise InputError("weights belong to a meta-model of how = weights, and only there")
        if self.weights is not None:
            self._check_weights(np.array(self.weights))

    def _check_weights(self, weights: Floats) -> None:
        if weights.size != len(self.models):
            raise InputError(f"{weights.size} weights were given for {len(self.models)} models")
        if not np.all(weights >= 0) or abs(float(weights.sum()) - 1.0) > 1e-6:
            raise InputError("weights of a meta-model must not be negative and must add up to 1")

    def combine(self, by_model: Floats) -> Floats:
        """Reduce values of shape (models, n) to (n,)."""
        if self.weights is not None:
            return np.asarray(np.array(self.weights) @ by_model)
        return np.asarray(by_model.mean(0) if self.how == "mean" else np.median(by_model, 0))

    def predict(self, utilization: ArrayLike, idle: float, maximum: float) -> Band:
        """Watts of one device at each utilisation (shape (n,), in 0..1), with the band."""
        u = np.atleast_1d(np.asarray(utilization, dtype=np.float64))
        by_model = np.stack([model.watts(u, idle, maximum) for model in self.models])
        p10, p90 = np.percentile(by_model, [10, 90], axis=0)
        return Band(self.combine(by_model), by_model.min(0), by_model.max(0), p10, p90, by_model)
