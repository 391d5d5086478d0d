"""Whole measured runs of vLLM 0.19 from kernel timings, with nothing fitted and with one constant.

The tables of docs/background/fidelity.md are recomputed here.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from servetwin.cost.profiles.build import cost_from_profiles
from servetwin.cost.profiles.iteration import Tuning
from servetwin.cost.profiles.skew import contexts_of
from servetwin.sim import simulate
from servetwin.types import RunResult
from servetwin.workload import read
from support.vllm_runs import (
    GPUS,
    QWEN,
    Floats,
    Stamps,
    arrived,
    deployed,
    described,
    measured,
    simulated,
)

PAGE = Path(__file__).resolve().parents[2] / "docs" / "background" / "fidelity.md"
TYPICAL = 1000
FITTED_REQUESTS = 100
"""The first third of a run's 300."""
QUEUED = 0.3
"""Seconds in the queue, above which a request has waited; below 10 ms it has not."""


def run(data_dir: Path, gpu: str, tuning: Tuning) -> RunResult:
    folder = data_dir / "measured" / "vllm_runs"
    deployment, workload = deployed(folder, gpu), arrived(folder, measured(folder, gpu))
    profiles = data_dir / "profiles" / "vllm_layers"
    cost = cost_from_profiles(deployment, profiles, TYPICAL, tuning=tuning)
    return simulate(deployment, workload, cost)


def stamps(data_dir: Path, gpu: str, tuning: Tuning) -> tuple[Stamps, Stamps]:
    real = measured(data_dir / "measured" / "vllm_runs", gpu)
    return simulated(run(data_dir, gpu, tuning).requests), real


def shown(value: float) -> str:
    return f"{value:+.1%}".replace("%", " %")


def on_page(*cells: str) -> None:
    row = f"| {' | '.join(cells)} |"
    print(row)
    assert row in PAGE.read_text(), f"not in {PAGE.name}: {row}"


def mean_error(found: Floats, real: Floats) -> float:
    return float(found.mean() / real.mean() - 1)


BOUNDS = {"TTFT": 0.12, "TPOT": 0.05, "E2E": 0.07}


@pytest.mark.parametrize("correction", ["equal contexts", "skewed contexts"])
@pytest.mark.parametrize("gpu", GPUS)
def test_nothing_fitted(data_dir: Path, gpu: str, correction: str) -> None:
    tuning = Tuning()
    if correction == "skewed contexts":
        folder = data_dir / "measured" / "vllm_runs"
        workload = arrived(folder, measured(folder, gpu))
        tuning = Tuning(contexts=contexts_of(workload.input_tokens, workload.output_tokens))
    found, real = stamps(data_dir, gpu, tuning)
    errors = {name: mean_error(found.metrics[name], real.metrics[name]) for name in BOUNDS}
    each = np.abs(found.metrics["E2E"] / real.metrics["E2E"] - 1).mean()
    makespan = found.last.max() / real.last.max() - 1
    on_page(
        gpu, correction, *map(shown, errors.values()), shown(makespan), f"{each:.1%}"[:-1] + " %"
    )
    for name, bound in BOUNDS.items():
        assert abs(errors[name]) <= bound, name


@pytest.mark.parametrize("gpu", GPUS)
def test_one_constant_from_the_first_third(data_dir: Path, gpu: str) -> None:
    """A factor on all kernel times, chosen so that the mean TPOT of 100 requests is met."""
    factor = fitted_factor(data_dir, gpu)
    found, real = stamps(data_dir, gpu, Tuning(time_factor=factor))
    scored = np.arange(real.queued.size) >= FITTED_REQUESTS
    cells = []
    for name in ("TPOT", "E2E"):
        ours, theirs = found.metrics[name][scored], real.metrics[name][scored]
        error = mean_error(ours, theirs)
        assert abs(error) <= 0.03, name
        cells.append(shown(error))
        for percent in (50, 90, 99):
            error = float(np.percentile(ours, percent) / np.percentile(theirs, percent) - 1)
            assert abs(error) <= 0.05, (name, percent)
            cells.append(shown(error))
    waited = scored & (real.metrics["queue"] > QUEUED)
    error = mean_error(found.metrics["TTFT"][waited], real.metrics["TTFT"][waited])
    assert abs(error) <= 0.05
    cells.append(shown(error))
    at_once = scored & (real.metrics["queue"] < 0.01)
    if at_once.any():
        error = mean_error(found.metrics["prefill"][at_once], real.metrics["prefill"][at_once])
        assert abs(error) <= 0.10
        cells.append(shown(error))
    else:
        cells.append("none")
    on_page(gpu, f"{factor:.3f}", *cells)


def fitted_factor(data_dir: Path, gpu: str) -> float:
    low, high = 0.8, 1.25
    while high - low > 5e-4:
        factor = (low + high) / 2
        found, real = stamps(data_dir, gpu, Tuning(time_factor=factor))
        first = slice(FITTED_REQUESTS)
        too_fast = found.metrics["TPOT"][first].mean() < real.metrics["TPOT"][first].mean()
        low, high = (factor, high) if too_fast else (low, factor)
    return (low + high) / 2


def test_scheduler_alone(data_dir: Path) -> None:
    """RTX 4090: order of admission, running requests and KV use, as the engine reported them."""
    folder = data_dir / "measured" / "vllm_runs"
    result = run(data_dir, "RTX4090", Tuning())
    found, real = simulated(result.requests), measured(folder, "RTX4090")
    ranks = [np.argsort(np.argsort(column)) for column in (found.scheduled, real.scheduled)]
    correlation = float(np.corrcoef(*ranks)[0, 1])
    assert correlation >= 0.999
    with (folder / "RTX4090_Llama-3.1-8B_vllm_timeseries.csv").open() as file:
        rows = list(csv.DictReader(file))
    running, used = (np.array([float(r[n]) for r in rows]) for n in ("running", "kv_cache_pct"))
    timeline = result.timeline
    assert timeline is not None
    count = min(running.size, timeline.running.size)
    apart = float(np.abs(timeline.running[:count] - running[:count]).mean())
    share = 100.0 * timeline.kv_blocks[:count] / result.kv_capacity_blocks
    points = float(np.abs(share - used[:count]).mean())
    on_page("RTX4090", f"{correlation:.4f}", f"{apart:.2f}", f"{points:.2f}")
    assert apart <= 1.5
    assert points <= 3.0
    assert abs(result.kv_capacity_blocks / 2588 - 1) <= 0.03


@pytest.mark.parametrize("name", ["RTXPRO6000_Qwen3-32B", "RTXPRO6000_Qwen3-30B-A3B-Instruct-2507"])
def test_deployments_without_measurements_run(data_dir: Path, name: str) -> None:
    folder = data_dir / "measured" / "vllm_runs"
    deployment = described(folder, name)
    profiles = data_dir / "profiles" / "vllm_layers"
    tuning = Tuning(link_as_stated=True)
    cost = cost_from_profiles(deployment, profiles, TYPICAL, tuning=tuning)
    metrics = simulated(simulate(deployment, read(folder / QWEN), cost).requests).metrics
    cells = [f"{metrics['TTFT'].mean():.2f} s", f"{1e3 * metrics['TPOT'].mean():.1f} ms"]
    on_page(name, *cells, f"{metrics['E2E'].mean():.1f} s")
    assert cost.level == "profiled"
