"""Fit the power models of `servetwin.cost.energy` to public measurements, and score them.

    python tools/fit_power.py DATA_DIR [--write]

Prints the tables of docs/background/energy.md; with --write, fits anew and replaces the
packaged coefficients and those tables. Which points are fitted to is decided in
`servetwin/cost/energy/measured.py` (FIT_MODELS, FIT_TP) and by the first of three pulses.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares, nnls

from servetwin.catalog import accelerators
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
ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "src/servetwin/cost/data/power.toml"
DOCUMENT = ROOT / "docs/background/energy.md"
GOAL = 0.15
HEADER = """\
# Power coefficients, written by tools/fit_power.py; servetwin/cost/energy/load.py says what
# each one means, docs/background/energy.md how far off they are. Shares are of the range from
# idle to limit (load) or of the limit (device); fit again when the catalog's watts change.
"""

Row = tuple[str, int, Floats]
"""Group, held-out points, median absolute error by column."""


# ------------------------------------------------------------------ fitting


def fit_curve(samples: Samples) -> LoadCurve:
    """Three coefficients, robustly, on the logarithm of the watts."""
    fitted = np.array([point.fit for point in samples.points])

    def residual(values: Floats) -> Floats:
        load = LoadCurve(*values.tolist()).load(samples.used)
        watts = samples.average(samples.idle + (samples.limit - samples.idle) * load)
        return np.log(watts[fitted] / samples.measured[fitted])

    found = least_squares(residual, [0.2, 0.5, 0.7], bounds=(0.0, 2.0), loss="soft_l1", f_scale=0.1)
    return LoadCurve(*(round(value, 4) for value in found.x.tolist()))


def fit_weights(samples: Samples, curve: LoadCurve) -> tuple[float, ...]:
    """Weights of the eight models, not negative, of sum 1; least squares of relative error."""
    fitted = np.array([point.fit for point in samples.points])
    uniform = tuple(1 / len(EIGHT) for _ in EIGHT)
    watts = model_watts(samples, curve.load(samples.used), uniform)[: len(EIGHT), fitted]
    relative = (watts / samples.measured[fitted]).T
    strong = 1e4
    left = np.vstack([relative, np.full((1, len(EIGHT)), strong)])
    weights, _ = nnls(left, np.append(np.ones(relative.shape[0]), strong))
    rounded = np.round(weights / weights.sum(), 4)
    rounded[np.argmax(rounded)] += 1.0 - rounded.sum()
    return tuple(round(float(weight), 4) for weight in rounded)


def fit_memory(samples: Samples, curve: LoadCurve) -> float:
    """The memory coefficient of the A6000, on its first pulse.

    The card sits at its limit, so large values fit equally well: the least of the best.
    """
    fitted = np.array([point.fit for point in samples.points])

    def loss(memory: float) -> float:
        load = LoadCurve(curve.active, memory, curve.compute).load(samples.used)
        watts = samples.average(samples.idle + (samples.limit - samples.idle) * load)
        return float(np.median(np.abs(np.log(watts[fitted] / samples.measured[fitted]))))

    grid = np.round(np.arange(0.3, 2.0, 0.01), 2)
    losses = np.array([loss(memory) for memory in grid])
    return float(grid[np.argmax(losses <= losses.min() + 1e-3)])


def fit_rest(measured: Path) -> tuple[float, float, float]:
    """Idle watts, standby watts and seconds of standby, from the pause after the first pulse."""
    series = read_pulses(measured)
    first = series.log_t < PULSE_SECONDS
    end = series.log_t[first & (series.running > 0)].max()
    pause = (series.gpu_t > end + 4) & (series.gpu_t < PULSE_SECONDS)
    times, watts = series.gpu_t[pause], series.gpu_watts[pause]
    idle = float(np.median(watts[times > PULSE_SECONDS - 15]))
    standby = float(np.median(watts[times < end + 14]))
    return idle, standby, float(times[watts > (idle + standby) / 2].max() - end)


def fit_server(measured: Path) -> tuple[float, float]:
    """Base watts and factor of the server, on its first pulse."""
    series = read_pulses(measured)
    first = series.server_t < PULSE_SECONDS
    gpu = np.interp(series.server_t[first], series.gpu_t, series.gpu_watts)
    left = np.column_stack([np.ones_like(gpu), gpu])
    base, factor = np.linalg.lstsq(left, series.server_watts[first], rcond=None)[0]
    return round(float(base), 1), round(float(factor), 4)


def write_coefficients(measured: Path) -> None:
    """Fit everything and replace the packaged table."""
    samples, pulses = sample(read_points(measured)), sample(pulse_points(measured))
    curve = fit_curve(samples)
    weights = fit_weights(samples, curve)
    memory = fit_memory(pulses, curve)
    idle, standby, seconds = fit_rest(measured)
    base, factor = fit_server(measured)
    limit = float(pulses.limit[0])
    shares = [a.idle_watts / a.max_watts for a in accelerators() if a.idle_watts and a.max_watts]
    how = best_combination(samples, curve, weights)
    TARGET.write_text(
        f"""{HEADER}
assumed_idle_share = {np.mean(shares):.3f}  # mean of {len(shares)} devices of the catalog
measured = ["H100-SXM", "B200", "A100-80GB"]  # devices with points that were fitted to

[load]  # ML.ENERGY (three models, H100 and B200) and Splitwise (Llama-2-70B, tp 2 and 8)
active = {curve.active}
memory = {curve.memory}
compute = {curve.compute}

[meta_model]  # the best on held-out points; weights in the order of the eight models
how = "{how}"
weights = {list(weights)}

[server]  # watts of the A6000 server = base + factor * GPU; first of three pulses
base = {base}
factor = {factor}

[[device]]  # first of three pulses; A40 and A10 are the same chip (GA102) with GDDR6
applies_to = ["RTX-A6000", "A40", "A10"]
measured_on = "RTX-A6000"
memory = {memory}
loaded_idle_share = {idle / limit:.3f}
standby_share = {standby / limit:.3f}
standby_seconds = {seconds:.1f}
""",
        encoding="utf-8",
    )
    read_power.cache_clear()


def best_combination(samples: Samples, curve: LoadCurve, weights: tuple[float, ...]) -> str:
    """The combination with the least median error over all held-out points."""
    watts = model_watts(samples, curve.load(samples.used), weights)
    held = np.array([not point.fit for point in samples.points])
    errors = np.median(np.abs(watts[:, held] / samples.measured[held] - 1.0), axis=1)
    pooled = dict(zip(COLUMNS, errors.tolist(), strict=True))
    return min(("mean", "median", "weights"), key=lambda how: pooled[how])


# ------------------------------------------------------------------ scoring


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


def unseen_rows(measured: Path) -> Iterator[tuple[str, int, float]]:
    """(a) for a device that nothing was fitted to: group, points, median error of *linear*."""
    points = read_points(measured)
    groups = list(dict.fromkeys(point.group for point in points if point.fit))
    for group in groups:
        curve = fit_curve(sample([point for point in points if point.group != group]))
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


# ------------------------------------------------------------------ tables


def tables(measured: Path) -> dict[str, str]:
    """The tables of docs/background/energy.md, by the name of their marker."""
    return {
        "coefficients": _coefficients(),
        "power": _table(power_rows(measured)),
        "roofline": _table(roofline_rows(measured)),
        "unseen": _plain(
            ("device", "points", "error of linear"),
            ([g, f"{n}", f"{e:.1%}"] for g, n, e in unseen_rows(measured)),
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


def in_document(text: str, name: str) -> str:
    """The table between the markers of a name."""
    return text.split(f"<!-- {name} -->")[1].split("<!-- end -->")[0].strip()


def replaced(text: str, name: str, table: str) -> str:
    """The document with another table between the markers of a name, if it has them."""
    before, marker, rest = text.partition(f"<!-- {name} -->")
    _, end, after = rest.partition("<!-- end -->")
    return f"{before}{marker}\n{table}\n{end}{after}" if end else text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    measured = arguments.data / "measured"
    if arguments.write:
        write_coefficients(measured)
    text = DOCUMENT.read_text(encoding="utf-8") if DOCUMENT.exists() else ""
    for name, table in tables(measured).items():
        print(f"{name}\n{table}\n")
        if arguments.write:
            text = replaced(text, name, table)
    if arguments.write and text:
        DOCUMENT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
