"""The points of the board that `tools/fit_serving.py` fits to."""

from __future__ import annotations

from collections.abc import Iterable

from servetwin.calibrate.serving import Run
from servetwin.studies.fidelity.points import Point

__all__ = ["fitted_points", "runs_of"]


def fitted_points(points: Iterable[Point]) -> list[Point]:
    """Every second of those that count as fitted."""
    return [point for point in points if "ttft" in point.fitted][::2]


def runs_of(points: Iterable[Point]) -> list[Run]:
    """What the fit needs of them."""
    return [
        Run(
            point.deployment,
            point.workload,
            float(point.measured["ttft"][0]),
            float(point.measured["tpot"][0]),
            point.host,
            point.polled,
        )
        for point in points
    ]
