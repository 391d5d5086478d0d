"""Fit a generator to a trace, and say how far the generator then is from it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from servetwin.types.workload import Workload
from servetwin.units import PS_PER_S
from servetwin.workload.arrivals import GammaGaps, GapTable, OpenLoop
from servetwin.workload.lengths import Quantiles
from servetwin.workload.rates import Drift, Flat, Shape

__all__ = [
    "WINDOWS",
    "ColumnError",
    "arrival_seconds",
    "column_error",
    "dispersion",
    "fit_arrivals",
    "fit_lengths",
    "gap_cv",
    "rank_correlation",
]

Floats = NDArray[np.float64]

WINDOWS = (12.0, 30.0, 60.0, 120.0, 300.0)
"""Seconds over which requests are counted, to see how the rate moves."""
HOLDS = (30.0, 60.0, 120.0, 300.0, 600.0)
DIGITS = 6
MAX_KNOTS = 200


@dataclass(frozen=True)
class ColumnError:
    """Distance of generated lengths from those of a trace; all but `ks` relative to the trace."""

    ks: float
    """Kolmogorov-Smirnov distance: the largest gap between the two CDFs."""
    mean: float
    p50: float
    p90: float
    p99: float


def fit_lengths(lengths: NDArray[np.int32], name: str = "", ks: float = 0.002) -> Quantiles:
    """Choose the knots of a piecewise-linear CDF through that of `lengths`.

    Starts from the ends and adds the worst point until no point is off by more than `ks`,
    and in the upper tail, where totals are made, by more than 5 % of the share beyond it.
    """
    values, counts = np.unique(lengths, return_counts=True)
    # The CDF as a line: flat up to one below each value, then up to its new height.
    tokens = np.union1d(values, values - 1)
    share = np.concatenate(([0.0], np.cumsum(counts) / lengths.size))
    cumulative = share[np.searchsorted(values, tokens, side="right")]
    tolerance = np.minimum(ks, np.maximum(0.05 * (1.0 - cumulative), 0.5 / lengths.size))
    chosen = _knots(tokens.astype(np.float64), cumulative, tolerance)
    return Quantiles(
        tuple(tokens[chosen].tolist()), tuple(np.round(cumulative[chosen], DIGITS).tolist()), name
    )


def fit_arrivals(times: Floats, tick: float = 0.0) -> OpenLoop:
    """Fit an open loop to arrivals in seconds; `tick` is the step of a coarse clock, if any.

    Gaps are gamma where that is what they look like, else a table. What the gaps leave
    unexplained of the dispersion of counts becomes a drift of the rate.
    """
    gaps = np.diff(times)
    rate = gaps.size / float(times[-1] - times[0])
    if tick > 0.0:
        base, shape = _match_dispersion(times, rate, None)
        return OpenLoop(rate, GammaGaps(base), shape, tick)
    cv = gap_cv(times)
    if _gamma_distance(gaps * rate, cv) > 0.1:
        return OpenLoop(rate, _gap_table(gaps * rate))
    base, shape = _match_dispersion(times, rate, cv)
    return OpenLoop(rate, GammaGaps(base), shape)


def rank_correlation(first: NDArray[np.int32], second: NDArray[np.int32]) -> float:
    """Spearman's correlation; equal lengths share their mean rank."""
    from scipy.stats import rankdata

    return float(np.corrcoef(rankdata(first), rankdata(second))[0, 1])


def gap_cv(times: Floats) -> float:
    """Coefficient of variation of the gaps between arrivals."""
    gaps = np.diff(times)
    return float(gaps.std() / gaps.mean())


def dispersion(times: Floats, window: float) -> float:
    """Variance over mean of the requests per `window` seconds: 1 for a Poisson process."""
    edges = np.arange(times[0], times[-1], window)
    counts = np.histogram(times, edges)[0]
    return float(counts.var(ddof=1) / counts.mean())


def column_error(trace: NDArray[np.int32], made: NDArray[np.int32]) -> ColumnError:
    """Compare one column of a trace with the generated one."""
    values = np.union1d(trace, made)
    cdfs = [np.searchsorted(np.sort(c), values, side="right") / c.size for c in (trace, made)]

    def off(true: float, found: float) -> float:
        return float(found / true - 1.0)

    quantiles = (0.5, 0.9, 0.99)
    p50, p90, p99 = map(off, np.quantile(trace, quantiles), np.quantile(made, quantiles))
    ks = float(np.abs(cdfs[0] - cdfs[1]).max())
    return ColumnError(ks, off(float(trace.mean()), float(made.mean())), p50, p90, p99)


def arrival_seconds(workload: Workload) -> Floats:
    """Arrivals of an open-loop workload in seconds since its first request."""
    return np.asarray((workload.arrival - workload.arrival[0]) / PS_PER_S)


def _knots(x: Floats, y: Floats, tolerance: Floats) -> NDArray[np.int64]:
    chosen = [0, x.size - 1]
    while len(chosen) < MAX_KNOTS:
        excess = np.abs(np.interp(x, x[chosen], y[chosen]) - y) - tolerance
        worst = int(np.argmax(excess / tolerance))
        if excess[worst] <= 0.0:
            break
        chosen = sorted([*chosen, worst])
    return np.asarray(chosen)


def _gap_table(gaps: Floats) -> GapTable:
    """Knots of the inverse CDF of unit-mean gaps: each off by at most 2 % of gap or mean."""
    x = np.concatenate(([0.0], np.sort(gaps)))
    y = np.arange(x.size) / gaps.size
    chosen = _knots(y, x, 0.02 * np.maximum(x, 0.1))
    return GapTable(
        tuple(np.round(x[chosen], DIGITS).tolist()), tuple(np.round(y[chosen], DIGITS).tolist())
    )


def _gamma_distance(gaps: Floats, cv: float) -> float:
    from scipy.special import gammainc

    expected = gammainc(cv**-2, np.sort(gaps) * cv**-2)
    return float(np.abs(expected - np.arange(gaps.size) / gaps.size).max())


def _match_dispersion(times: Floats, rate: float, cv: float | None) -> tuple[float, Shape]:
    """Choose gap CV, and level and duration of a drift, by the dispersion over `WINDOWS`.

    Over windows much longer than a gap, a renewal process has dispersion cv**2; levels of
    relative variance v that hold for h seconds add v * rate * overlap(h). Where `cv` is that
    of the observed gaps, the drift's part of it is taken off: (1 + cv**2) / (1 + v) - 1.
    """
    windows = np.asarray(WINDOWS)
    observed = np.asarray([dispersion(times, w) for w in WINDOWS])
    best = (math.inf, 1.0, 0.0, HOLDS[0])
    for hold in HOLDS:
        for v in (0.0, *np.geomspace(1e-4, 1.0, 200).tolist()):
            drift = v * rate * _overlap(windows, hold)
            # With a coarse clock the gaps say nothing, and the dispersion says it all.
            squares = [(1.0 + cv**2) / (1.0 + v) - 1.0] if cv else np.linspace(0.3, 4.0, 150)
            for square in squares:
                if square <= 0.0:
                    continue
                error = float(np.sum(np.log((square + drift) / observed) ** 2))
                best = min(best, (error, math.sqrt(square), math.sqrt(v), hold))
    _, base, sd, hold = best
    return round(base, DIGITS), Drift(round(sd, DIGITS), hold) if sd > 0.0 else Flat()


def _overlap(window: Floats, hold: float) -> Floats:
    """Variance of the mean level over `window`, times window: levels hold, phase is random."""
    short = window * (1.0 - window / (3.0 * hold))
    long = hold * (1.0 - hold / (3.0 * window))
    return np.where(window <= hold, short, long)
