"""Arrival processes: when each request comes.

An open loop sends requests whatever the server does. A closed loop has users who wait for an
answer, think, and ask again. The clock starts with the first request, as in a trace, so `n`
requests at rate `r` span about `(n - 1) / r` seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from servetwin.errors import InputError, counted
from servetwin.types.workload import Workload
from servetwin.units import MAX_TIME_PS, NOT_YET, PS_PER_S, ps_from_seconds
from servetwin.workload.rates import Flat, Shape, Warp, check_rate

__all__ = [
    "Arrivals",
    "AtOnce",
    "ClosedLoop",
    "GammaGaps",
    "GapTable",
    "OpenLoop",
    "Replay",
    "Schedule",
    "Think",
    "schedule",
    "think_times",
    "with_rate",
]

Ints = NDArray[np.int64]
CHUNK = 1 << 18
"""Requests drawn at once: temporary columns stay within the processor's cache."""


@dataclass(frozen=True)
class GammaGaps:
    """Independent gamma gaps with coefficient of variation `cv`: 0 is constant, 1 Poisson."""

    cv: float = 1.0

    def __post_init__(self) -> None:
        if not (self.cv == 0.0 or 1e-6 <= self.cv <= 100.0):
            raise InputError(f"arrival cv {self.cv}: must be 0, or lie between 1e-6 and 100")

    def draw(self, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
        if self.cv == 0.0:
            return np.ones(n)
        if self.cv == 1.0:
            return rng.standard_exponential(n)
        gaps = rng.standard_gamma(self.cv**-2, size=n)
        gaps *= self.cv**2
        return gaps


@dataclass(frozen=True)
class GapTable:
    """Independent gaps from a measured inverse CDF: `gaps[i]` at probability `cumulative[i]`.

    Linear between knots, and scaled so that the mean gap is 1.
    """

    gaps: tuple[float, ...]
    cumulative: tuple[float, ...]
    name: str = ""

    def __post_init__(self) -> None:
        known = len(self.gaps) == len(self.cumulative) >= 2
        if not known or self.cumulative[0] != 0.0 or self.cumulative[-1] != 1.0:
            raise InputError(f"gaps {self.name}: need one probability a knot, from 0 to 1")
        if self.gaps[0] < 0.0 or not 0.0 < self.gaps[-1] < math.inf:
            raise InputError(f"gaps {self.name}: must be positive and finite")
        if np.any(np.diff(self.gaps) < 0) or np.any(np.diff(self.cumulative) < 0):
            raise InputError(f"gaps {self.name}: neither gaps nor probabilities may fall")

    def draw(self, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
        gaps = np.asarray(self.gaps)
        mean = float(np.diff(self.cumulative) @ (gaps[1:] + gaps[:-1])) / 2.0
        return np.asarray(np.interp(rng.random(n), self.cumulative, gaps / mean))


@dataclass(frozen=True)
class OpenLoop:
    """A renewal process: `rate` requests per second, independent gaps, a rate shape over it."""

    rate: float
    gaps: GammaGaps | GapTable = field(default_factory=GammaGaps)
    shape: Shape = field(default_factory=Flat)
    tick: float = 0.0
    """Seconds to whose multiples arrivals are rounded down, as in a trace with a coarse clock."""

    def __post_init__(self) -> None:
        check_rate(self.rate)
        if not 0.0 <= self.tick <= 86_400.0:
            raise InputError(f"arrival tick {self.tick:g} s: must lie between 0 and 1 day")


@dataclass(frozen=True)
class AtOnce:
    """All requests are there at time 0 (offline batch)."""


@dataclass(frozen=True)
class Think:
    """Pause of `mean` seconds between an answer and the next question."""

    mean: float = 0.0
    exponential: bool = False
    """Draw each pause from an exponential distribution instead of using the mean."""

    def __post_init__(self) -> None:
        # A mean of 1 day leaves an exponential draw far below the clock's 90 days.
        if not 0.0 <= self.mean <= 86_400.0:
            raise InputError(f"think time {self.mean:g} s: must lie between 0 and 1 day")


@dataclass(frozen=True)
class ClosedLoop:
    """`concurrency` users; user `u` issues requests `u`, `u + concurrency`, and so on.

    Each user's first request arrives at time 0, the next ones `think` after the answer before.
    """

    concurrency: int
    think: Think = field(default_factory=Think)

    def __post_init__(self) -> None:
        if self.concurrency < 1:
            raise InputError(f"concurrency {self.concurrency}: must be at least 1")


@dataclass(frozen=True, eq=False)
class Replay:
    """The arrivals of `workload`, from its first request on, with new lengths.

    An open-loop trace that is too short starts over, one mean gap after its last request. A
    closed-loop trace keeps its parents and think times, and cannot start over.
    `transform.at_rate` changes the rate of a trace.
    """

    workload: Workload


Arrivals = OpenLoop | AtOnce | ClosedLoop | Replay


@dataclass(frozen=True)
class Schedule:
    """Columns of a Workload that say when requests come; see `Workload` for their meaning."""

    arrival: Ints
    parent: NDArray[np.int32] | None = None
    think_time: Ints | None = None


def schedule(arrivals: Arrivals, requests: int, rng: np.random.Generator) -> Schedule:
    """Draw the arrivals of `requests` requests.

    Raises InputError where they would reach beyond the 90 days of the clock.
    """
    match arrivals:
        case AtOnce():
            return Schedule(np.zeros(requests, dtype=np.int64))
        case ClosedLoop():
            return _closed_loop(arrivals, requests, rng)
        case Replay():
            return _replay(arrivals, requests)
        case OpenLoop():
            return Schedule(_open_loop(arrivals, requests, rng))


def think_times(think: Think, n: int, rng: np.random.Generator) -> Ints:
    """Draw `n` pauses in picoseconds."""
    if not think.exponential:
        return np.full(n, ps_from_seconds(think.mean), dtype=np.int64)
    pauses = np.empty(n, dtype=np.int64)
    for start in range(0, n, CHUNK):
        part = pauses[start : start + CHUNK]
        part[:] = np.rint(rng.standard_exponential(part.size) * (think.mean * PS_PER_S))
    return pauses


def _open_loop(spec: OpenLoop, n: int, rng: np.random.Generator) -> Ints:
    gap_stream, shape_stream = rng.spawn(2)
    arrival = _renewals(spec, n, gap_stream)
    end = int(arrival[-1]) / PS_PER_S
    warp = spec.shape.warp(end, shape_stream)
    if warp is not None:
        _warp_in_place(arrival, warp, spec.rate)
    tick = int(ps_from_seconds(spec.tick))
    if tick > 1:
        for start in range(0, n, CHUNK):
            part = arrival[start : start + CHUNK]
            part -= part % tick
    return arrival


def _renewals(spec: OpenLoop, n: int, rng: np.random.Generator) -> Ints:
    mean_gap = PS_PER_S / spec.rate
    if isinstance(spec.gaps, GammaGaps) and spec.gaps.cv == 0.0:
        # Not summed, so that request i comes at i / rate without an error that grows.
        _check_end((n - 1) * mean_gap, spec.rate)
        return np.asarray(np.rint(np.arange(n) * mean_gap), dtype=np.int64)
    arrival = np.zeros(n, dtype=np.int64)
    last = 0
    for start in range(1, n, CHUNK):
        part = arrival[start : start + CHUNK]
        gaps = spec.gaps.draw(part.size, rng)
        gaps *= mean_gap
        _check_end(last + float(gaps.sum()), spec.rate)
        part[:] = np.rint(gaps, out=gaps)
        part[0] += last
        np.cumsum(part, out=part)
        last = int(part[-1])
    return arrival


def _warp_in_place(arrival: Ints, warp: Warp, rate: float) -> None:
    latest = 0
    for start in range(0, arrival.size, CHUNK):
        part = arrival[start : start + CHUNK]
        real = warp(part / PS_PER_S) * PS_PER_S
        _check_end(float(real[-1]), rate)
        part[:] = np.rint(real, out=real)
        # Rounding of floats may put neighbours at a corner of the shape out of order by some ps.
        part[0] = max(latest, int(part[0]))
        np.maximum.accumulate(part, out=part)
        latest = int(part[-1])


def _check_end(end_ps: float, rate: float) -> None:
    if not end_ps <= MAX_TIME_PS:
        raise InputError(
            f"arrivals at {rate:g} requests per second reach beyond the 90 days of the clock:"
            " raise the rate or ask for fewer requests"
        )


def _closed_loop(spec: ClosedLoop, n: int, rng: np.random.Generator) -> Schedule:
    first = min(spec.concurrency, n)
    arrival = np.full(n, NOT_YET, dtype=np.int64)
    arrival[:first] = 0
    parent = np.full(n, -1, dtype=np.int32)
    parent[first:] = np.arange(n - first, dtype=np.int32)
    pauses = np.zeros(n, dtype=np.int64)
    pauses[first:] = think_times(spec.think, n - first, rng)
    return Schedule(arrival, parent, pauses)


def _replay(spec: Replay, n: int) -> Schedule:
    source = spec.workload
    if source.closed_loop:
        if n > len(source):
            raise InputError(
                f"{source.name} is a closed loop and cannot start over: ask for at most its"
                f" {counted(len(source), 'request')}, not {n}"
            )
        parent, think = source.parent, source.think_time
        return Schedule(
            source.arrival[:n].copy(),
            None if parent is None else parent[:n].copy(),
            None if think is None else think[:n].copy(),
        )
    times = source.arrival - source.arrival[0]
    span = int(times[-1])
    lap = span + round(span / max(1, len(source) - 1))
    laps = -(-n // len(source))
    if (laps - 1) * lap + int(times[(n - 1) % len(source)]) > MAX_TIME_PS:
        raise InputError(
            f"{n} arrivals of {source.name} reach beyond the 90 days of the clock:"
            " ask for fewer requests"
        )
    arrival = np.resize(times, n)
    for turn in range(1, laps):
        arrival[turn * len(source) : (turn + 1) * len(source)] += turn * lap
    return Schedule(arrival)


def with_rate(arrivals: OpenLoop, rate: float) -> OpenLoop:
    """Speed a process up or down as a whole: its shape and tick stretch with its gaps."""
    check_rate(rate)
    stretch = arrivals.rate / rate
    shape = arrivals.shape
    try:
        for name in ("on", "off", "period", "hold"):
            if hasattr(shape, name):
                shape = replace(shape, **{name: getattr(shape, name) * stretch})
        return replace(arrivals, rate=rate, shape=shape, tick=arrivals.tick * stretch)
    except InputError:
        # Its message would be about durations that nobody has given.
        raise InputError(
            f"rate {rate:g}: too far from the {arrivals.rate:g} requests per second of the process"
            " that is to be stretched"
        ) from None
