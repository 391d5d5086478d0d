"""The tables of docs/background/energy.md: predicted against measured power and energy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from servetwin.cost.energy import EnergyReport, device_power, energy_of, server_power
from servetwin.cost.energy.load import LoadCurve, default_meta_model, read_power
from servetwin.cost.energy.measured import ASSUMED_INPUT, Point, engine, mlenergy, read_points
from servetwin.cost.energy.power_models import EIGHT
from servetwin.cost.energy.pulses import PULSE_SECONDS, pulse_points, read_pulses, read_workload
from servetwin.cost.energy.scoring import (
    COLUMNS,
    Samples,
    end_to_end,
    model_watts,
    predicted_work,
    sample,
    seconds_for_a_token,
)
from servetwin.sim import SimOptions, simulate
from servetwin.types import Parallelism

Floats = NDArray[np.float64]
Fit = Callable[[Samples], LoadCurve]
GOAL = 0.15

Row = tuple[str, int, Floats]
"""Group, held-out points, median absolute error by column."""


def by_group(points: list[Point], predicted: Floats, measured: Floats) -> Iterator[Row]:
    """Median absolute errors of the held-out points of each group."""
    held = np.array([not point.fit for point in points])
    groups = np.array([point.group for point in points])
    for group in dict.fromkeys(groups.tolist()):
        chosen = held & (groups == group)
        errors = np.abs(predicted[:, chosen] / measured[chosen] - 1.0)
        yield group, int(chosen.sum()), np.median(errors, axis=1)


def power_rows(measured: Path) -> list[Row]:
    """(a) Watts at the measured batch and throughput."""
    weights = tuple(read_power()["meta_model"]["weights"])
    rows: list[Row] = []
    for points in (read_points(measured), pulse_points(measured)):
        samples = sample(points)
        curve = device_power(points[0].deployment.accelerator).curve
        watts = model_watts(samples, curve.load(samples.used), weights)
        rows += by_group(points, watts, samples.measured)
    return rows


def roofline_rows(measured: Path) -> list[Row]:
    """(a) with nothing fitted: the larger of the two utilisations instead of the load."""
    weights = tuple(read_power()["meta_model"]["weights"])
    points = [*read_points(measured), *pulse_points(measured)]
    samples = sample(points)
    watts = model_watts(samples, samples.used.roofline, weights)
    return list(by_group(points, watts, samples.measured))


def unseen_rows(measured: Path, fit: Fit) -> Iterator[tuple[str, int, float]]:
    """(a) for a device that nothing was fitted to: group, points, median error of *linear*."""
    points = read_points(measured)
    groups = list(dict.fromkeys(point.group for point in points if point.fit))
    for group in groups:
        curve = fit(sample([point for point in points if point.group != group]))
        samples = sample([point for point in points if point.group == group])
        load = curve.load(samples.used)
        watts = samples.average(samples.idle + (samples.limit - samples.idle) * load)
        error = np.median(np.abs(watts / samples.measured - 1.0))
        yield group, samples.measured.size, float(error)


def energy_rows(measured: Path) -> list[Row]:
    """(b) Joules for each output token, with the time of the cost model."""
    weights = tuple(read_power()["meta_model"]["weights"])
    points = read_points(measured)
    curve = LoadCurve(**read_power()["load"])
    joules = np.array([point.joules_per_token or np.nan for point in points])
    return list(by_group(points, end_to_end(points, curve, weights), joules))


def time_rows(measured: Path) -> Iterator[tuple[str, float]]:
    """Why (b) is off: median signed error of the predicted seconds, by group, held out."""
    points = [point for point in read_points(measured) if not point.fit]
    for group in dict.fromkeys(point.group for point in points):
        chosen = [point for point in points if point.group == group]
        errors = [seconds_for_a_token(p, predicted_work(p)) / seconds_for_a_token(p, p.work) - 1
                  for p in chosen]  # fmt: skip
        yield group, float(np.median(errors))


def assumption_rows(measured: Path) -> Iterator[tuple[int, str, float, float]]:
    """How much the assumed input length matters: tokens, group, errors of (a) and of (b)."""
    weights = tuple(read_power()["meta_model"]["weights"])
    curve, column = LoadCurve(**read_power()["load"]), COLUMNS.index(default_meta_model().how)
    for length in (100, 500, 1000):
        points = list(mlenergy(measured, dict.fromkeys(ASSUMED_INPUT, length)))
        samples = sample(points)
        watts = model_watts(samples, curve.load(samples.used), weights)
        joules = np.array([point.joules_per_token or np.nan for point in points])
        power = by_group(points, watts, samples.measured)
        energy = by_group(points, end_to_end(points, curve, weights), joules)
        for (group, _, a), (_, _, b) in zip(power, energy, strict=True):
            yield length, group, float(a[column]), float(b[column])


def simulated_pulses(measured: Path) -> tuple[Floats, EnergyReport]:
    """The pulses simulated from the workload alone: middles of the seconds, and energy."""
    deployment, cost = engine("meta-llama/Llama-3.1-8B", "RTX-A6000", Parallelism(), False)
    run = simulate(deployment, read_workload(measured), cost, SimOptions(engine="reference"))
    assert run.timeline is not None
    times = (run.timeline.t - run.timeline.interval / 2) / 1e12
    return times, energy_of(run, deployment, cost)


def pulse_rows(measured: Path) -> Iterator[tuple[str, int, float, float]]:
    """(b) for pulses 2 and 3: name, seconds, median error of the watts, error of the energy."""
    series = read_pulses(measured)
    times, report = simulated_pulses(measured)
    server = server_power().watts(report.power_w)
    truths = {
        "GPU": (series.gpu_t, series.gpu_watts, report.power_w),
        "server": (series.server_t, series.server_watts, server),
    }
    for name, (at, watts, simulated) in truths.items():
        later = (times > PULSE_SECONDS) & (times <= at.max())
        for when, chosen in (("", later), (", while it works", later & (report.duty > 0))):
            truth = np.interp(times[chosen], at, watts)
            yield f"{name}{when}", int(chosen.sum()), *_errors(simulated[chosen], truth)
    later = series.server_t > PULSE_SECONDS
    gpu = np.interp(series.server_t[later], series.gpu_t, series.gpu_watts)
    errors = _errors(server_power().watts(gpu), series.server_watts[later])
    yield "server, from the measured GPU", int(later.sum()), *errors


def _errors(predicted: Floats, truth: Floats) -> tuple[float, float]:
    """Median absolute error of the values, and the error of their sum."""
    median = float(np.median(np.abs(predicted / truth - 1.0)))
    return median, float(predicted.sum() / truth.sum() - 1.0)


def tables(measured: Path, fit: Fit) -> dict[str, str]:
    """The tables of docs/background/energy.md, by the name of their marker.

    `fit` fits a load curve to the points of some samples that may be fitted to.
    """
    return {
        "coefficients": _coefficients(),
        "power": _table(power_rows(measured)),
        "roofline": _table(roofline_rows(measured)),
        "unseen": _plain(
            ("device", "points", "error of linear"),
            ([g, f"{n}", f"{e:.1%}"] for g, n, e in unseen_rows(measured, fit)),
        ),
        "energy": _table(energy_rows(measured)),
        "time": _plain(
            ("group", "error of the time"), ([g, f"{e:+.0%}"] for g, e in time_rows(measured))
        ),
        "assumption": _plain(
            ("input tokens", "group", "watts", "joules per token"),
            ([f"{n}", g, f"{a:.1%}", f"{b:.1%}"] for n, g, a, b in assumption_rows(measured)),
        ),
        "pulses": _pulse_table(measured),
    }


def _coefficients() -> str:
    table = read_power()
    weights = zip((model.name for model in EIGHT), table["meta_model"]["weights"], strict=True)
    lines = ["| coefficient | value |", "|---|---|"]
    lines += [f"| load, {name} | {value:.3f} |" for name, value in table["load"].items()]
    lines += [f"| weight of {name} | {weight:.3f} |" for name, weight in weights if weight]
    lines += [f"| server, {name} | {value:.4g} |" for name, value in table["server"].items()]
    for name in ("memory", "loaded_idle_share", "standby_share", "standby_seconds"):
        lines.append(f"| RTX A6000, {name.replace('_', ' ')} | {table['device'][0][name]:g} |")
    return "\n".join(lines)


def _table(rows: list[Row]) -> str:
    default = default_meta_model().how
    names = [f"**{name}**" if name == default else name for name in COLUMNS]
    lines = [
        f"| group | points | {' | '.join(names)} | goal met |",
        "|---|---|" + "---|" * (len(COLUMNS) + 1),
    ]
    for group, count, errors in rows:
        met = "yes" if errors[COLUMNS.index(default)] <= GOAL else "no"
        cells = " | ".join(f"{error:.1%}".replace("%", " %") for error in errors)
        lines.append(f"| {group} | {count} | {cells} | {met} |")
    return "\n".join(lines)


def _plain(heads: tuple[str, ...], rows: Iterable[list[str]]) -> str:
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    lines += [f"| {' | '.join(row)} |".replace("%", " %") for row in rows]
    return "\n".join(lines)


def _pulse_table(measured: Path) -> str:
    lines = [
        "| series | seconds | median error of the watts | error of the energy | goal met |",
        "|---|---|---|---|---|",
    ]
    for name, count, error, total in pulse_rows(measured):
        met = "yes" if error <= GOAL else "no"
        text = f"| {name} | {count} | {error:.1%} | {total:+.1%} | {met} |"
        lines.append(text.replace("%", " %"))
    return "\n".join(lines)
