"""The load curve: one deployment, one workload, a range of request rates.

Two rates are named. The *knee* is that of `results.knee`: the most throughput per latency.
The *limit* is the first rate above the base at which the 99th percentile of TTFT or of E2E
exceeds that of the base by more than half; the *base* is the lowest rate at which at least
100 requests completed. Below the base a 99th percentile would be an outlier.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple

from servetwin.errors import InputError
from servetwin.results import LoadPoint, Slo, knee, load_point, summary
from servetwin.results.output import Writer, write_together
from servetwin.results.remarks import is_overloaded
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


class Rate(NamedTuple):
    """What the run at one rate came to."""

    point: LoadPoint
    completed: int
    overloaded: bool
    notes: tuple[str, ...]
    provenance: dict[str, Any]


@dataclass(frozen=True)
class LoadCurve:
    """The points by rising rate, and how many requests completed at each."""

    points: tuple[LoadPoint, ...]
    completed: tuple[int, ...]
    missing: tuple[float, ...] = ()
    """Rates that were asked for, and that Ctrl-C has left out."""
    overloaded: tuple[float, ...] = ()
    """Rates at which more requests arrive than complete."""
    notes: tuple[str, ...] = ()
    """What the simulator says of any of these runs."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Where the figures of all of them come from."""

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
    found: dict[float, Rate] = {}
    pool = ThreadPoolExecutor(os.cpu_count() or 1)
    try:
        # The first alone: it may have to compile the kernel, for which the others would wait.
        for together in (ordered[:1], ordered[1:]):
            futures = {pool.submit(_simulate_at, rate, setup, stop): rate for rate in together}
            for future in as_completed(futures):
                found[futures[future]] = future.result()
                done(len(found))
    except KeyboardInterrupt:
        if not found:
            raise
    finally:
        stop.set()
        pool.shutdown(wait=False, cancel_futures=True)
    runs = [found[rate] for rate in sorted(found)]
    return LoadCurve(
        points=tuple(run.point for run in runs),
        completed=tuple(run.completed for run in runs),
        missing=tuple(rate for rate in ordered if rate not in found),
        overloaded=tuple(run.point.offered_rps for run in runs if run.overloaded),
        notes=tuple(dict.fromkeys(note for run in runs for note in run.notes)),
        provenance={k: v for k, v in runs[0].provenance.items() if k != "iterations"},
    )


def _simulate_at(rate: float, setup: Setup, stop: Event) -> Rate:
    """Simulate, unless `stop` is set before the simulator looks at it for the last time."""

    def check(_: int) -> None:
        if stop.is_set():
            raise CancelledError

    workload = setup.workload_at(rate)
    if workload.closed_loop:
        raise InputError(f"{workload.name}: a closed loop sets its own rate; sweep an open one")
    options = replace(setup.options, progress=check)
    run = simulate(setup.deployment, workload, setup.cost, options)
    content = summary(run, setup.slo)
    metrics = content["metrics"]
    return Rate(
        point=load_point(rate, content),
        completed=metrics["completed"],
        overloaded=is_overloaded(run, metrics),
        notes=run.notes,
        provenance=content["provenance"],
    )


def _exceeds(point: LoadPoint, base: LoadPoint) -> bool:
    for name in RATE_FIELDS:
        here, there = getattr(point, name), getattr(base, name)
        if here is not None and there and here > LATENCY_LIMIT * there:
            return True
    return False


def describe(curve: LoadCurve, about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of `load_curve.json`.

    `about` holds the run's `provenance`, `config`, `workload` and `notes`, as in a summary.
    """
    rates = {name: getattr(curve, name) for name in ("base", "limit", "knee")}
    return {
        "schema": SCHEMA,
        "kind": "simulated",
        "provenance": {**curve.provenance, **about["provenance"]},
        **{name: about[name] for name in ("config", "workload")},
        **{f"{name}_rps": point and point.offered_rps for name, point in rates.items()},
        "limit_over_base": LATENCY_LIMIT,
        "missing_rps": list(curve.missing),
        "points": [
            {
                **asdict(point),
                "completed": completed,
                "overloaded": point.offered_rps in curve.overloaded,
            }
            for point, completed in zip(curve.points, curve.completed, strict=True)
        ],
        "notes": list(dict.fromkeys((*curve.notes, *about["notes"], *_remarks(curve)))),
    }


def _remarks(curve: LoadCurve) -> Iterator[str]:
    if curve.overloaded:
        yield (
            f"Overload at {_listed(curve.overloaded)} requests/s: the queue grows as long as "
            "requests arrive, so that latencies there depend on how many they are."
        )
    if curve.missing:
        count, asked = len(curve.points), len(curve.points) + len(curve.missing)
        yield f"Interrupted after {count} of {asked} rates: {_listed(curve.missing)} are missing."


def _listed(rates: Sequence[float]) -> str:
    return ", ".join(f"{rate:g}" for rate in rates)


def write_curve(curve: LoadCurve, content: dict[str, Any], out: Path, page: bool = True) -> None:
    """Write load_curve.csv, .png, .html and .json; all of them, or InputError and none.

    Without `page`, no .html.
    """
    from servetwin.report.figures import save
    from servetwin.report.load_figures import load_curve
    from servetwin.report.load_page import load_page
    from servetwin.report.load_wording import about, title

    chart = load_curve(curve.points, title(content), [about(content).get("Workload", "")])
    writers: dict[str, Writer] = {
        "load_curve.csv": lambda path: _write_csv(content["points"], path),
        "load_curve.png": lambda path: save(chart, path),
    }
    if page:
        text = load_page(curve.points, content)
        writers["load_curve.html"] = lambda path: path.write_text(text, encoding="utf-8")
    writers[CURVE] = lambda path: path.write_text(to_json(content) + "\n", encoding="utf-8")
    write_together(out, writers, tuple(name for name in NAMES if name not in writers))


def _write_csv(points: Sequence[dict[str, Any]], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, fieldnames=list(points[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(points)
