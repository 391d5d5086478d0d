"""Rate shapes: how the request rate moves over time, relative to its mean.

A shape maps operational time to real time. Operational time runs at the pace of the expected
requests: if a process is steady in it, the process in real time follows the shape, because
real time is the inverse of the cumulative rate (time change of a renewal process; exact, no
thinning). Both times are in seconds, and over a whole cycle they advance equally, so a shape
does not change the mean rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from servetwin.errors import InputError

__all__ = ["Bursts", "Diurnal", "Drift", "Flat", "Shape", "Warp", "check_rate"]

Seconds = NDArray[np.float64]
Warp = Callable[[Seconds], Seconds]
"""Turns operational seconds (not decreasing) into real seconds."""

MIN_RATE, MAX_RATE = 1e-7, 1e9
"""Requests per second. At the lowest, even a second request comes after the clock's 90 days."""


def check_rate(rate: float) -> None:
    """Raise InputError for a rate that no workload has; NaN is one."""
    if not MIN_RATE <= rate <= MAX_RATE:
        raise InputError(
            f"rate {rate:g}: must lie between {MIN_RATE:g} and {MAX_RATE:g} requests per second"
        )


@dataclass(frozen=True)
class Flat:
    """The rate stays as it is."""

    def warp(self, end: float, rng: np.random.Generator) -> Warp | None:  # noqa: ARG002 (shared signature)
        return None


@dataclass(frozen=True)
class Bursts:
    """`off` seconds of quiet, then `on` seconds at `factor` times the quiet rate, repeated."""

    factor: float
    on: float
    off: float

    def __post_init__(self) -> None:
        if not 1.0 <= self.factor <= 1e6:
            raise InputError(f"bursts factor {self.factor}: must lie between 1 and 1,000,000")
        _check_duration("bursts on", self.on)
        _check_duration("bursts off", self.off)

    def warp(self, end: float, rng: np.random.Generator) -> Warp | None:  # noqa: ARG002 (shared signature)
        period = self.on + self.off
        quiet = period / (self.off + self.factor * self.on)

        def real(operational: Seconds) -> Seconds:
            start = np.floor(operational / period) * period
            rest = (operational - start) / quiet
            return np.asarray(
                start + np.where(rest < self.off, rest, self.off + (rest - self.off) / self.factor)
            )

        return real


@dataclass(frozen=True)
class Diurnal:
    """Relative rate 1 + `amplitude` * sin(2 pi t / `period`): starts at the mean, rising."""

    period: float = 86_400.0
    amplitude: float = 0.5

    TABLE: ClassVar[int] = 1 << 14
    """Steps of the table from which Newton's method starts."""

    def __post_init__(self) -> None:
        _check_duration("diurnal period", self.period)
        if not 0.0 <= self.amplitude <= 0.999:
            raise InputError(f"diurnal amplitude {self.amplitude}: must lie between 0 and 0.999")

    def warp(self, end: float, rng: np.random.Generator) -> Warp | None:  # noqa: ARG002 (shared signature)
        scale = self.period / (2.0 * math.pi)
        swing = self.amplitude

        grid = np.linspace(0.0, 2.0 * math.pi, self.TABLE + 1)
        cumulative = grid + swing * (1.0 - np.cos(grid))

        def real(operational: Seconds) -> Seconds:
            cycle = np.floor(operational / self.period)
            rest = (operational - cycle * self.period) / scale
            angle = np.interp(rest, cumulative, grid)
            # From a table this fine, two steps reach the precision of the floats.
            for _ in range(2):
                surplus = angle + swing * (1.0 - np.cos(angle)) - rest
                angle -= surplus / (1.0 + swing * np.sin(angle))
            return np.asarray(cycle * self.period + angle * scale)

        return real


@dataclass(frozen=True)
class Drift:
    """The rate holds for `hold` seconds, then takes a new level, at random around its mean.

    Levels follow a gamma distribution with relative standard deviation `sd`. They are scaled
    so that their mean over the whole workload is exactly 1.
    """

    sd: float
    hold: float

    MAX_LEVELS: ClassVar[int] = 10_000_000

    def __post_init__(self) -> None:
        if not (self.sd == 0.0 or 1e-6 <= self.sd <= 10.0):
            raise InputError(f"drift sd {self.sd}: must be 0, or lie between 1e-6 and 10")
        _check_duration("drift hold", self.hold)

    def warp(self, end: float, rng: np.random.Generator) -> Warp | None:
        if self.sd == 0.0:
            return None
        if end / self.hold > self.MAX_LEVELS:
            raise InputError(
                f"drift hold {self.hold:g} s: too short for {end:.3g} s of arrivals;"
                f" must be at least {end / self.MAX_LEVELS:.2g} s"
            )
        count = max(1, math.ceil(end / self.hold))
        levels = rng.standard_gamma(self.sd**-2, size=count)
        # A wide sd may draw only zeros; the workload then keeps its mean rate.
        levels = levels / levels.mean() if levels.any() else np.ones(count)
        knots = np.concatenate(([0.0], np.cumsum(levels * self.hold)))
        times = np.arange(count + 1) * self.hold

        def real(operational: Seconds) -> Seconds:
            return np.asarray(np.interp(operational, knots, times))

        return real


Shape = Flat | Bursts | Diurnal | Drift
"""Each offers `warp(end, rng)`: a `Warp` valid up to `end` operational seconds, or None."""


def _check_duration(what: str, seconds: float) -> None:
    if not 1e-6 <= seconds <= 90 * 86_400:
        raise InputError(f"{what} is {seconds:g} s: must lie between 1 us and 90 days")
