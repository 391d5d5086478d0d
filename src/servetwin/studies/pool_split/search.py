"""The highest request rate at which enough requests meet their objectives.

Rates lie on a grid, 2^(k/64), so that equal questions get equal answers: from a rate that
meets, doubling finds one that does not, and halving what lies between ends at two neighbours.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from threading import Event

import numpy as np

from servetwin.errors import InputError
from servetwin.results import Slo
from servetwin.results.latencies import latencies_ps
from servetwin.results.slo import count_met
from servetwin.sim import SimOptions, simulate
from servetwin.studies.pool_split.layouts import Layout
from servetwin.studies.pool_split.limits import Limit, limit_of
from servetwin.types import RunResult, Status, Workload
from servetwin.units import PS_PER_S

__all__ = ["STEP", "Found", "Question", "Trial", "search"]

STEPS = 64
"""Rates to each doubling."""
STEP = 2 ** (1 / STEPS) - 1
"""Relative distance of two rates."""
LOWEST, HIGHEST = -10 * STEPS, 20 * STEPS
"""Rates for each engine, as exponents: 1 in 17 minutes, and a million a second."""
LONGEST_S = 5e6
"""Of all arrivals together; the clock ends at 9e6 s."""


@dataclass(frozen=True)
class Question:
    """What every layout is asked."""

    workload_at: Callable[[float], Workload]
    """The requests, arriving at this many a second."""
    slo: Slo
    engines: int
    options: SimOptions
    rates: tuple[float, ...] = ()
    """Rates to try instead of the grid, ascending."""


@dataclass(frozen=True)
class Trial:
    """One layout at one rate."""

    rate: float
    """Requests/s that arrive."""
    met: dict[str, float]
    """Share of all requests that meet each limit, and under `all` every one."""
    latencies: dict[str, float]
    """Seconds that the wanted share of completed requests stays within, by metric."""
    rejected: int
    preemptions: int
    limit: Limit
    """What most requests that miss something miss, and why."""

    @property
    def goodput(self) -> float:
        """Requests that meet every limit, per second of the time in which they arrive."""
        return self.rate * self.met["all"]


@dataclass(frozen=True)
class Found:
    """The highest rate at which a layout meets the objectives, and the next one."""

    layout: Layout
    best: Trial | None
    """None where no rate does."""
    beyond: Trial | None
    """The lowest rate tried above; None where all rates asked for meet the objectives."""
    notes: tuple[str, ...] = ()

    @property
    def goodput(self) -> float:
        """Of the best rate; 0 where there is none."""
        return 0.0 if self.best is None else self.best.goodput

    @property
    def standing(self) -> tuple[float, bool, float]:
        """What ranks layouts: the rate; of equal ones, a budget that nobody had to tune is better.

        Goodputs at one rate differ by a request or two.
        """
        rate = 0.0 if self.best is None else self.best.rate
        return rate, not self.layout.tuned, self.goodput


def search(
    layouts: Sequence[Layout], question: Question, done: Callable[[Found], None] = lambda _: None
) -> list[Found]:
    """Ask every layout, as many at once as there are cores; `done` is told each that finishes.

    KeyboardInterrupt ends all of it.
    """
    stop = Event()
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        futures = [pool.submit(_Search(layout, question, stop).run) for layout in layouts]
        for future in as_completed(futures):
            done(future.result())
        return [future.result() for future in futures]
    finally:
        stop.set()
        pool.shutdown(wait=False, cancel_futures=True)


class _Search:
    """Trials of one layout, none of them twice."""

    def __init__(self, layout: Layout, question: Question, stop: Event) -> None:
        self.layout, self.question, self.stop = layout, question, stop
        self.trials: dict[float, Trial] = {}
        self.notes: dict[str, None] = {}

    def run(self) -> Found:
        meets = self._given() if self.question.rates else self._on_the_grid()
        best = None if meets is None else self.trials[meets]
        above = [rate for rate in self.trials if best is None or rate > best.rate]
        beyond = self.trials[min(above)] if above else None
        return Found(self.layout, best, beyond, tuple(self.notes))

    def _given(self) -> float | None:
        good = [rate for rate in self.question.rates if self._meets(rate)]
        return max(good, default=None)

    def _on_the_grid(self) -> float | None:
        start = round(STEPS * np.log2(self.question.engines))
        good = self._halving(start)
        if good is None:
            return None
        bad = good + STEPS
        while self._meets(_rate(bad)):
            good, bad = bad, bad + STEPS
            if bad > start + HIGHEST:
                raise InputError(
                    f"{self.layout.name}: {_rate(good):,.0f} requests/s meet the objectives, so "
                    "nothing limits it; give tighter ones with --slo, or more --requests"
                )
        while bad - good > 1:
            middle = (good + bad) // 2
            good, bad = (middle, bad) if self._meets(_rate(middle)) else (good, middle)
        return _rate(good)

    def _halving(self, start: int) -> int | None:
        """Halve the rate until it meets; None where even the lowest does not."""
        requests = len(self.question.workload_at(_rate(start)))
        for exponent in range(start, start + LOWEST, -STEPS):
            if requests / _rate(exponent) > LONGEST_S:
                return None
            if self._meets(_rate(exponent)):
                return exponent
        return None

    def _meets(self, rate: float) -> bool:
        if rate not in self.trials:
            self.trials[rate] = self._try(rate)
        return self.trials[rate].met["all"] >= self.question.slo.share

    def _try(self, rate: float) -> Trial:
        self._go_on()
        layout, question = self.layout, self.question
        options = replace(question.options, progress=self._go_on)
        run = simulate(layout.deployment, question.workload_at(rate), layout.cost, options)
        self.notes |= dict.fromkeys(run.notes)
        return _trial(run, rate, question.slo)

    def _go_on(self, _: int = 0) -> None:
        if self.stop.is_set():
            raise CancelledError


def _rate(exponent: int) -> float:
    return float(2.0 ** (exponent / STEPS))


def _trial(run: RunResult, rate: float, slo: Slo) -> Trial:
    table = run.requests
    met = count_met(table, slo)
    latencies = {}
    for name in ("ttft", "tpot"):
        values = latencies_ps(table, name)
        if values.size:
            latencies[name] = float(np.quantile(values, slo.share)) / PS_PER_S
    return Trial(
        rate=rate,
        met={name: count / len(table) for name, count in met.items()},
        latencies=latencies,
        rejected=int(np.count_nonzero(table.status == Status.REJECTED)),
        preemptions=int(table.preemptions.sum(dtype=np.int64)),
        limit=limit_of(table, slo),
    )
