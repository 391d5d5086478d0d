"""What predictions were off by where somebody measured: the packaged table.

`tools/fit_intervals.py` writes it from the scoreboard's points. A *class* of runs shares its
bands: the level of its costs, and whether its accelerator is of the vendor whose chips the
costs were fitted to.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from servetwin.calibrate.error_bars import NOMINAL, Band, Bands
from servetwin.types import Accelerator

__all__ = [
    "FITTED_VENDOR",
    "Class",
    "band_of",
    "class_for",
    "class_name",
    "read_table",
    "widest_class",
]

FITTED_VENDOR = "NVIDIA"
METRICS = ("pace", "ttft", "tpot")


@dataclass(frozen=True)
class Class:
    """Runs that are taken to be alike, and how far off predictions of them were."""

    name: str
    bands: Bands
    points: int
    groups: int
    """Of points: one GPU and model of one source."""
    coverage: float | None
    """Share of measured values within the interval, each group's fitted without it."""


def band_of(ratios: NDArray[np.float64] | Sequence[float], nominal: float = NOMINAL) -> Band:
    """The ratios, measured over predicted, between which the share `nominal` lies.

    As many values lie above as below. The ends are those of a split conformal interval: of n
    ratios, the ceil((n + 1) q)-th, so that a further value lies within with at least the share
    wanted if it is of the same kind.
    """
    ordered = np.sort(np.asarray(ratios, dtype=np.float64))
    n = ordered.size
    if n == 0:
        raise ValueError("a band needs at least one ratio")
    tail = (1 - nominal) / 2
    above = min(n, int(np.ceil((n + 1) * (1 - tail) - 1e-9))) - 1
    return Band(float(ordered[n - 1 - above]), float(ordered[above]))


def class_name(level: str, accelerator: Accelerator) -> tuple[str, str]:
    """Level and vendor of a class."""
    trusted = "derived" if level == "derived" else "profiled"
    return trusted, "fitted" if accelerator.vendor == FITTED_VENDOR else "other"


def class_for(level: str, accelerator: Accelerator) -> Class:
    """The class of a run; that of derived costs where nobody measured with better ones."""
    classes = read_table()["class"]
    trusted, vendor = class_name(level, accelerator)
    entry = classes.get(trusted, {}).get(vendor) or classes["derived"][vendor]
    bands = {name: Band(*entry[name]) for name in METRICS}
    return Class(
        name=entry["name"],
        bands=Bands(**bands),
        points=entry["points"],
        groups=entry["groups"],
        coverage=entry.get("coverage"),
    )


def widest_class(engines: Iterable[tuple[str, Accelerator]]) -> Class:
    """Of the classes of several kinds of engines, each by level and device, the least certain."""
    classes = [class_for(level, accelerator) for level, accelerator in engines]
    return max(classes, key=lambda known: known.bands.pace.high / known.bands.pace.low)


@cache
def read_table() -> Mapping[str, Any]:
    """The packaged table: `class` by level and vendor, and `evidence`, a list."""
    text = resources.files("servetwin.calibrate").joinpath("data/intervals.toml").read_text("utf-8")
    return tomllib.loads(text)
