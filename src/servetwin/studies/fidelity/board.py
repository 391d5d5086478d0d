"""The board: all sets read, all points predicted, all groups scored."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from servetwin.studies.fidelity.points import MeasuredSet, Point
from servetwin.studies.fidelity.predict import predict
from servetwin.studies.fidelity.scores import Compared, Score, score
from servetwin.studies.fidelity.sets import SETS, read_set
from servetwin.studies.fidelity.variants import Fits, unseen_gpu, unseen_model

__all__ = ["Board", "build", "outliers"]

IMPOSSIBLE = "the simulated engine has no room for a request"
SMALL = 6
"""Points of each group on the small board."""


@dataclass(frozen=True)
class Board:
    """Everything the study shows."""

    scores: list[Score]
    compared: list[Compared]
    left_out: dict[str, Counter[str]]
    """By set: rows that are not on the board, by the reason."""
    said: dict[str, tuple[str, ...]]
    missing: list[str]
    """Sets whose folder was not found."""
    small: bool
    """A few points of each group, and nothing left out of the fits."""


def build(
    data: Path,
    names: Sequence[str] = tuple(SETS),
    small: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,  # noqa: ARG005
) -> Board:
    """Read, predict and score. `data` holds `measured/` and `profiles/`."""
    there = [name for name in names if (data / "measured" / SETS[name]).is_dir()]
    sets = [read_set(name, data / "measured") for name in there]
    if small:
        sets = [_thinned(found) for found in sets]
    left_out = {found.name: Counter(found.left_out) for found in sets}
    tasks = [(found.name, point) for found in sets for point in found.points]
    # The simulator's kernels release the GIL. Order stays that of the tasks.
    compared: list[Compared] = []
    if tasks:
        predict(
            tasks[0][1], data / "profiles"
        )  # compiles the simulator where that is due, once and aloud
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(
            lambda task: _compare(task[0], task[1], data / "profiles", not small), tasks
        )
        for done, ((source, _), items) in enumerate(zip(tasks, results, strict=True), 1):
            if not items:
                left_out[source][IMPOSSIBLE] += 1
            compared += items
            progress(done, len(tasks))
    return Board(
        scores=score(compared),
        compared=compared,
        left_out=left_out,
        said={found.name: found.said for found in sets},
        missing=[name for name in names if name not in there],
        small=small,
    )


def _thinned(found: MeasuredSet) -> MeasuredSet:
    """Every so many points of each group, evenly over its list."""
    groups: dict[str, list[Point]] = {}
    for point in found.points:
        groups.setdefault(point.group, []).append(point)
    kept = []
    for points in groups.values():
        chosen = np.linspace(0, len(points) - 1, min(SMALL, len(points))).round().astype(int)
        kept += [points[index] for index in chosen]
    return MeasuredSet(found.name, kept, found.left_out, found.said)


def _compare(source: str, point: Point, profiles: Path, leave_out: bool) -> list[Compared]:
    """Predict as packaged and, with `leave_out`, without GPU and model.

    Nothing where the run is not possible.
    """
    found = predict(point, profiles, say=_nothing)
    others: list[Fits | None] = [None, None]
    if leave_out and not point.profiles:
        gpu, model = point.deployment.accelerator.name, point.deployment.model.name
        others = [unseen_gpu(gpu, profiles), unseen_model(model)]
    without_gpu, without_model = (
        found if fits is None else predict(point, profiles, fits, _nothing) for fits in others
    )
    unseen = (without_gpu, without_model) if leave_out else ()
    if any(prediction.rejected for prediction in (found, *unseen)):
        return []
    return [
        Compared(
            source=source,
            group=point.group,
            label=point.label,
            metric=metric,
            level=found.level,
            fitted=metric in point.fitted,
            measured=measured,
            predicted=found.values[metric],
            unseen_gpu=without_gpu.values[metric] if leave_out else None,
            unseen_model=without_model.values[metric] if leave_out else None,
            tags=dict(point.tags),
        )
        for metric, measured in point.measured.items()
    ]


def _nothing(message: str) -> None:
    """The first prediction has said it."""


def outliers(board: Board, factor: float = 2.0) -> list[Compared]:
    """Single values that are off by more than `factor` either way, the worst first."""
    distance = {
        id(item): abs(float(np.log(item.predicted[0] / item.measured[0])))
        for item in board.compared
        if item.measured.size == 1
    }
    off = [item for item in board.compared if distance.get(id(item), 0.0) > np.log(factor)]
    return sorted(off, key=lambda item: -distance[id(item)])
