"""The load curve: one deployment, one workload, a range of request rates.

Two rates are named. The *knee* is that of `results.knee`: the most throughput per latency.
The *limit* is the first rate above the base at which the 99th percentile of TTFT or of E2E
exceeds that of the base by more than half; the *base* is the lowest rate at which at least
100 requests completed. Below the base a 99th percentile would be an outlier.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Event
from typing import Any

from servetwin.errors import InputError
from servetwin.results import LoadPoint, Slo, knee, load_point, summary
from servetwin.results.output import Writer, write_together
from servetwin.results.summary import to_json
from servetwin.sim import SimOptions, simulate
from servetwin.types import CostModel, Deployment, Workload

__all__ = ["CURVE", "NAMES", "LoadCurve", "Setup", "describe", "measure", "write_curve"]

SCHEMA = "servetwin.load_curve/1"
CURVE = "load_curve.json"
NAMES = ("load_curve.csv", "load_curve.png", "load_curve.html", CURVE)
"""Names that a sweep writes or replaces in its folder; the last marks it as complete."""

ENOUGH = 100
"""Completed requests from which a 99th percentile means something."""
LATENCY_LIMIT = 1.5
"""Share of the base's 99th percentile beyond which a rate is over the limit."""

Point = tuple[LoadPoint, int]
"""A rate's figures, and how many requests completed."""

RATE_FIELDS = ("ttft_p99_ms", "e2e_p99_s")


@dataclass(frozen=True)
class Setup:
    """What stays the same at every rate."""

    deployment: Deployment
    cost: CostModel
    workload_at: Callable[[float], Workload]
    """The requests, arriving at this many a second."""
    options: SimOptions
    slo: Slo | None = None


@dataclass(frozen=True)
class LoadCurve:
    """The points by rising rate, and how many requests completed at each."""

    points: tuple[LoadPoint, ...]
    completed: tuple[int, ...]
    missing: tuple[float, ...] = ()
    """Rates that were asked for, and that Ctrl-C has left out."""

    @property
    def base(self) -> LoadPoint | None:
        """The lowest rate with enough completed requests."""
        pairs = zip(self.points, self.completed, strict=True)
        return next((point for point, count in pairs if count >= ENOUGH), None)

    @property
    def limit(self) -> LoadPoint | None:
        """The first rate above the base whose latency is more than half again the base's."""
        base = self.base
        if base is None:
            return None
        above = (point for point in self.points if point.offered_rps > base.offered_rps)
        return next((point for point in above if _exceeds(point, base)), None)

    @property
    def knee(self) -> LoadPoint | None:
        """The rate with the most throughput per latency."""
        return knee(self.points)


def measure(
    setup: Setup, rates: Sequence[float], done: Callable[[int], None] = lambda _: None
) -> LoadCurve:
    """Simulate at each rate, as many at once as there are cores; `done` counts finished ones.

    Ctrl-C ends it, and the curve holds the rates that have finished; KeyboardInterrupt is
    raised where none has. Raises InputError for a closed loop, which sets its own rate.
    """
    ordered = sorted(set(rates))
    stop = Event()
    found: dict[float, Point] = {}
    pool = ThreadPoolExecutor(os.cpu_count() or 1)
    try:
        # The first alone: it may have to compile the kernel, for which the others would wait.
        for together in (ordered[:1], ordered[1:]):
            futures = {pool.submit(_point, setup, rate, stop): rate for rate in together}
            for future in as_completed(futures):
                found[futures[future]] = future.result()
                done(len(found))
    except KeyboardInterrupt:
        if not found:
            raise
    finally:
        stop.set()
        pool.shutdown(wait=False, cancel_futures=True)
    pairs = [found[rate] for rate in sorted(found)]
    return LoadCurve(
        points=tuple(point for point, _ in pairs),
        completed=tuple(count for _, count in pairs),
        missing=tuple(rate for rate in ordered if rate not in found),
    )


def _point(setup: Setup, rate: float, stop: Event) -> Point:
    """Simulate at one rate, until `stop` is set; how soon that is noticed is the simulator's."""

    def check(_: int) -> None:
        if stop.is_set():
            raise CancelledError

    workload = setup.workload_at(rate)
    if workload.closed_loop:
        raise InputError(f"{workload.name}: a closed loop sets its own rate; sweep an open one")
    options = replace(setup.options, progress=check)
    content = summary(simulate(setup.deployment, workload, setup.cost, options), setup.slo)
    return load_point(rate, content), int(content["metrics"]["completed"])


def _exceeds(point: LoadPoint, base: LoadPoint) -> bool:
    for name in RATE_FIELDS:
        here, there = getattr(point, name), getattr(base, name)
        if here is not None and there and here > LATENCY_LIMIT * there:
            return True
    return False


def describe(curve: LoadCurve, config: dict[str, Any]) -> dict[str, Any]:
    """Return the content of `load_curve.json`."""
    rates = {name: getattr(curve, name) for name in ("base", "limit", "knee")}
    return {
        "schema": SCHEMA,
        "config": config,
        **{f"{name}_rps": point and point.offered_rps for name, point in rates.items()},
        "missing_rps": list(curve.missing),
        "points": [
            {**asdict(point), "completed": completed}
            for point, completed in zip(curve.points, curve.completed, strict=True)
        ],
    }


def write_curve(curve: LoadCurve, content: dict[str, Any], out: Path) -> None:
    """Write load_curve.csv, .json, .png and .html; all of them, or InputError and none."""
    from servetwin.report import figures

    chart = figures.load_curve(curve.points)
    writers: tuple[Writer, ...] = (
        lambda path: _write_csv(content["points"], path),
        lambda path: figures.save(chart, path),
        lambda path: figures.save(chart, path),
        lambda path: path.write_text(to_json(content) + "\n", encoding="utf-8"),
    )
    write_together(out, dict(zip(NAMES, writers, strict=True)), ())


def _write_csv(points: Sequence[dict[str, Any]], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, fieldnames=list(points[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(points)
