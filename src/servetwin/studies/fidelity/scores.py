"""Errors of points, and the rows of the board that they make."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from servetwin.studies.fidelity.points import METRICS

__all__ = ["GOALS", "UNSEEN_GOALS", "Compared", "Score", "score"]

Floats = NDArray[np.float64]

GOALS = {"ttft": 0.35, "tpot": 0.15, "e2e": 0.15, "throughput": 0.15, "energy": 0.15}
"""Median absolute error at most, with derived costs."""
PROFILED_GOALS = {"ttft": 0.12, "tpot": 0.05, "e2e": 0.07, "throughput": 0.05}
"""With kernel timings of the very GPU."""
UNSEEN_GOALS = {"ttft": 0.50, "tpot": 0.25, "e2e": 0.25, "throughput": 0.25, "energy": 0.25}
"""The same where the GPU or the model was left out of every fit."""
ALL = "all"


@dataclass(frozen=True)
class Compared:
    """One metric of one point: what was measured, and what was predicted."""

    source: str
    group: str
    label: str
    metric: str
    level: str
    fitted: bool
    measured: Floats
    predicted: Floats
    unseen_gpu: Floats | None
    """Predicted without timings and runs of the GPU; as `predicted` where there are none. None on
    the small board, which leaves nothing out."""
    unseen_model: Floats | None
    """The same without runs of the model."""
    tags: dict[str, str]

    @property
    def error(self) -> Floats:
        """Signed relative errors; NaN where nothing was measured."""
        return np.asarray(self.predicted / self.measured - 1.0)


@dataclass(frozen=True)
class Score:
    """A row of the board: one metric of one group."""

    group: str
    metric: str
    points: int
    median: float
    """Of the absolute relative error."""
    p90: float
    mean: float
    """The MAPE."""
    bias: float
    """Median of the signed error."""
    unseen_gpu: float | None
    """Median of the absolute error without timings and runs of the GPU; None on the small board."""
    unseen_model: float | None
    """The same without runs of the model."""
    level: str
    fitted: bool
    goal: float
    unseen_goal: float

    @property
    def met(self) -> bool:
        """Whether all medians that are known are within their goals."""
        unseen = [error for error in (self.unseen_gpu, self.unseen_model) if error is not None]
        return self.median <= self.goal and max(unseen, default=0.0) <= self.unseen_goal

    def row(self) -> dict[str, Any]:
        """Plain values for CSV and JSON."""
        return {**asdict(self), "met": self.met}


def score(compared: Iterable[Compared]) -> list[Score]:
    """Score every group and metric, and all groups of a source with more than one."""
    groups: dict[tuple[str, str, bool], list[Compared]] = defaultdict(list)
    sources: dict[str, set[str]] = defaultdict(set)
    for item in compared:
        sources[item.source].add(item.group)
        groups[item.group, item.metric, item.fitted].append(item)
    for item in compared:
        if len(sources[item.source]) > 1 and not item.fitted and item.level == "derived":
            groups[f"{item.group.split(',')[0]}, {ALL}", item.metric, False].append(item)
    order = {metric: index for index, metric in enumerate(METRICS)}
    keys = sorted(groups, key=lambda key: (key[0], order[key[1]], key[2]))
    return [_score(*key, groups[key]) for key in keys]


def _score(group: str, metric: str, fitted: bool, items: list[Compared]) -> Score:
    errors = np.concatenate([item.error for item in items])
    errors = errors[np.isfinite(errors)]
    size = np.abs(errors)
    level = items[0].level
    goals = PROFILED_GOALS if level == "profiled" else GOALS
    return Score(
        group=group,
        metric=metric,
        points=errors.size,
        median=float(np.median(size)),
        p90=float(np.quantile(size, 0.9)),
        mean=float(size.mean()),
        bias=float(np.median(errors)),
        unseen_gpu=_median_error(items, "unseen_gpu"),
        unseen_model=_median_error(items, "unseen_model"),
        level=level,
        fitted=fitted,
        goal=goals[metric],
        unseen_goal=UNSEEN_GOALS[metric],
    )


def _median_error(items: list[Compared], column: str) -> float | None:
    """Median absolute error of one of the columns of predictions; None where it was not made."""
    if any(getattr(item, column) is None for item in items):
        return None
    found = np.concatenate([getattr(item, column) / item.measured - 1.0 for item in items])
    return float(np.nanmedian(np.abs(found)))
