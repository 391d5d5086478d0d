"""Predicted against measured power and energy, for fitting and for the published tables."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from servetwin.cost.energy.load import LoadCurve, device_power
from servetwin.cost.energy.measured import Batch, Point, phases
from servetwin.cost.energy.meta_power import MetaModel
from servetwin.cost.energy.power_models import EIGHT
from servetwin.cost.energy.utilization import Utilization, Work, iteration_seconds, utilization

__all__ = [
    "COLUMNS",
    "Samples",
    "end_to_end",
    "model_watts",
    "predicted_work",
    "sample",
    "seconds_for_a_token",
    "with_weights",
]

Floats = NDArray[np.float64]
COLUMNS = (*(model.name for model in EIGHT), "mean", "median", "weights")


@dataclass(frozen=True)
class Samples:
    """The phases of many points, flattened; `owner` says whose each one is."""

    points: tuple[Point, ...]
    owner: NDArray[np.int64]
    share: Floats
    """Share of its point's time; shares of a point add up to 1."""
    used: Utilization
    idle: Floats
    limit: Floats
    """Watts of the device of each phase."""

    @property
    def measured(self) -> Floats:
        """Watts of each point."""
        return np.array([point.watts for point in self.points])

    def average(self, watts: Floats) -> Floats:
        """Mean of phases over time: from shape (..., phases) to (..., points)."""
        total = np.zeros((*watts.shape[:-1], len(self.points)))
        for index in range(watts.shape[-1]):
            total[..., self.owner[index]] += self.share[index] * watts[..., index]
        return total


def sample(points: list[Point], works: list[Work] | None = None) -> Samples:
    """Utilisation of every phase of `points`, during their own work or the one given."""
    works = [point.work for point in points] if works is None else works
    used = [utilization(p.deployment, w) for p, w in zip(points, works, strict=True)]
    counts = [work.seconds.size for work in works]
    owner = np.repeat(np.arange(len(points)), counts)
    devices = [device_power(point.deployment.accelerator) for point in points]
    return Samples(
        points=tuple(points),
        owner=owner,
        share=np.concatenate([work.seconds / work.seconds.sum() for work in works]),
        used=Utilization(
            compute=np.concatenate([each.compute for each in used]),
            memory=np.concatenate([each.memory for each in used]),
        ),
        idle=np.array([device.idle for device in devices])[owner],
        limit=np.array([device.maximum for device in devices])[owner],
    )


def model_watts(samples: Samples, load: Floats, weights: tuple[float, ...]) -> Floats:
    """Watts of each point from each column of COLUMNS; shape (columns, points)."""
    by_model = np.stack([model.share(load) for model in EIGHT])
    watts = samples.idle + (samples.limit - samples.idle) * by_model
    combined = [
        MetaModel(how="mean").combine(watts),
        MetaModel(how="median").combine(watts),
        with_weights(weights).combine(watts),
    ]
    return samples.average(np.vstack([watts, *combined]))


def with_weights(weights: tuple[float, ...]) -> MetaModel:
    """The eight models, weighted."""
    return MetaModel(how="weights", weights=weights)


def predicted_work(point: Point) -> Work:
    """What the cost model thinks the point's work takes; same phases, its own seconds.

    A steady batch becomes one iteration: every sequence gains a token, and prompts are
    computed at the rate at which requests end.
    """
    work = point.work
    if not point.whole_run:
        assert point.batch is not None
        work = _steady_iteration(point.batch)
    placeholder = replace(work, seconds=np.ones_like(work.seconds))
    return replace(work, seconds=iteration_seconds(point.cost.iteration, placeholder))


def _steady_iteration(batch: Batch) -> Work:
    ends = batch.size / batch.output_tokens
    prompt = batch.input_tokens
    context = batch.size * (prompt + batch.mean_position)
    return phases(
        (1.0, 1.0, batch.size, ends * prompt, context, ends * prompt * (prompt + 1) / 2, ends)
    )


def end_to_end(points: list[Point], curve: LoadCurve, weights: tuple[float, ...]) -> Floats:
    """Predicted joules of all devices for each output token; shape (columns, points).

    Nothing of the measurement is used but the batch size and the lengths.
    """
    works = [predicted_work(point) for point in points]
    samples = sample(points, works)
    watts = model_watts(samples, curve.load(samples.used), weights)
    per_token = np.empty(len(points))
    for index, (point, work) in enumerate(zip(points, works, strict=True)):
        devices = point.deployment.parallelism.devices
        per_token[index] = seconds_for_a_token(point, work) * devices
    return watts * per_token


def seconds_for_a_token(point: Point, work: Work) -> float:
    """Seconds for each output token. The first one of a prompt counts in whole runs only."""
    first = work.prompts.sum() if point.whole_run else 0.0
    return float(work.seconds.sum() / (work.decode_tokens.sum() + first))
