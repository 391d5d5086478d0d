"""Fit the power models of `servetwin.cost.energy` to public measurements, and score them.

    python tools/fit_power.py DATA_DIR [--write]

Prints the tables of docs/background/energy.md; with --write, fits anew and replaces the
packaged coefficients and those tables. Which points are fitted to is decided in
`servetwin/cost/energy/measured.py` (FIT_MODELS, FIT_TP) and by the first of three pulses.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from power_tables import tables
from scipy.optimize import least_squares, nnls

from servetwin.catalog import accelerators
from servetwin.cost.energy.load import LoadCurve, read_power
from servetwin.cost.energy.measured import read_points
from servetwin.cost.energy.power_models import EIGHT
from servetwin.cost.energy.pulses import PULSE_SECONDS, pulse_points, read_pulses
from servetwin.cost.energy.scoring import COLUMNS, Samples, model_watts, sample

Floats = NDArray[np.float64]
ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "src/servetwin/cost/data/power.toml"
DOCUMENT = ROOT / "docs/background/energy.md"
HEADER = """\
# Power coefficients, written by tools/fit_power.py; servetwin/cost/energy/load.py says what
# each one means, docs/background/energy.md how far off they are. Shares are of the range from
# idle to limit (load) or of the limit (device); fit again when the catalog's watts change.
"""


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
    for name, table in tables(measured, fit_curve).items():
        print(f"{name}\n{table}\n")
        if arguments.write:
            text = replaced(text, name, table)
    if arguments.write and text:
        DOCUMENT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
