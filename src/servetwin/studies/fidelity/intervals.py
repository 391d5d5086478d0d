"""The scoreboard's points -> bands of measured over predicted, and how often they hold.

Every interval that is checked was fitted without the GPU and model of the source that it is
checked on. In a batch or a closed loop, times scale with the pace of iterations exactly, so
that the reruns of `calibrate.error_bars` need not be made to know where they end.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from servetwin.calibrate.error_bars import Band
from servetwin.calibrate.residuals import band_of, class_name
from servetwin.catalog import find_accelerator, find_model

__all__ = ["METRICS", "Checked", "Ratio", "bands_of", "check", "classes", "ratios_of"]

ENGINE = "vLLM"
"""The engine that is simulated; how far off others are says nothing about it."""

METRICS = ("ttft", "tpot", "e2e", "throughput")

OTHER_QUANTITIES = frozenset([("mlenergy", "tpot")])
"""Metrics of a set that are not what the metric means: here, medians of gaps between tokens."""

POOLS = frozenset(["inferencex-pools", "vllm-series-pools"])
"""Sets of runs with two pools: no intervals are claimed for such runs from the few there are."""

FEWEST = 5
"""Ratios from which a band is fitted; with fewer, that of the pace serves."""


@dataclass(frozen=True)
class Ratio:
    """One metric of one point: measured over predicted."""

    source: str
    gpu: str
    model: str
    weights: str
    level: str
    metric: str
    value: float

    @property
    def group(self) -> tuple[str, str, str]:
        """What is left out together."""
        return self.source, self.gpu, self.model

    @property
    def of_class(self) -> tuple[str, str]:
        """Level and vendor."""
        return class_name(self.level, find_accelerator(self.gpu))


@dataclass(frozen=True)
class Checked:
    """How often intervals hold whose group they were not fitted on, and how wide they are."""

    values: int
    inside: int
    half_width: float
    """Median of half the interval over the predicted value."""

    @property
    def coverage(self) -> float:
        """Share of the values within."""
        return self.inside / self.values


def ratios_of(rows: Iterable[Mapping[str, str]]) -> list[Ratio]:
    """Take from fidelity-points.csv what says something about a run's means.

    Left out are points on which something was fitted, requests by themselves, other engines,
    two pools, and metrics that mean something else.
    """
    return [
        Ratio(
            source=row["set"],
            gpu=find_accelerator(row["gpu"]).name,
            model=find_model(row["model"]).name,
            weights=row["weights"] or find_model(row["model"]).dtype,
            level=row["level"],
            metric=row["metric"],
            value=float(row["measured"]) / float(row["predicted"]),
        )
        for row in rows
        if row["engine"] == ENGINE
        and row["set"] not in POOLS
        and row["metric"] in METRICS
        and row["fitted"] == "False"
        and row["values"] == "1"
        and (row["set"], row["metric"]) not in OTHER_QUANTITIES
    ]


def classes(ratios: Iterable[Ratio]) -> dict[tuple[str, str], list[Ratio]]:
    """Sort ratios by class."""
    found: dict[tuple[str, str], list[Ratio]] = defaultdict(list)
    for ratio in ratios:
        found[ratio.of_class].append(ratio)
    return dict(found)


def bands_of(ratios: Sequence[Ratio]) -> dict[str, Band]:
    """Fit the bands `pace`, `ttft` and `tpot`."""
    by_metric: dict[str, list[float]] = defaultdict(list)
    for ratio in ratios:
        by_metric[ratio.metric].append(ratio.value)
    pace = band_of([*by_metric["tpot"], *(1 / value for value in by_metric["throughput"])])
    bands = {"pace": pace}
    for metric in ("ttft", "tpot"):
        values = by_metric[metric]
        bands[metric] = band_of(values) if len(values) >= FEWEST else pace
    return bands


def interval_of(metric: str, bands: Mapping[str, Band]) -> Band:
    """The interval of a metric over its predicted value, where times scale with the pace.

    E2E, of which TPOT is by far the larger part in every set, is given that of TPOT.
    """
    pace = Band(min(bands["pace"].low, 1.0), max(bands["pace"].high, 1.0))
    if metric == "throughput":
        return Band(1 / pace.high, 1 / pace.low)
    own = bands["tpot" if metric == "e2e" else metric]
    return Band(min(own.low, pace.low), max(own.high, pace.high))


def check(ratios: Sequence[Ratio]) -> dict[str, Checked]:
    """Check the intervals of one class: by metric, and `all` of them together."""
    groups: dict[tuple[str, str, str], list[Ratio]] = defaultdict(list)
    for ratio in ratios:
        groups[ratio.group].append(ratio)
    found: dict[str, list[tuple[bool, float]]] = defaultdict(list)
    for group, members in groups.items():
        bands = bands_of([ratio for ratio in ratios if ratio.group != group])
        for ratio in members:
            band = interval_of(ratio.metric, bands)
            seen = (band.low <= ratio.value <= band.high, (band.high - band.low) / 2)
            found[ratio.metric].append(seen)
            found["all"].append(seen)
    return {
        metric: Checked(
            values=len(seen),
            inside=sum(inside for inside, _ in seen),
            half_width=float(np.median([width for _, width in seen])),
        )
        for metric, seen in found.items()
    }
