"""Fit to measured serving runs what no kernel timings tell.

- The share of its peak that a family of chips without timings reaches. Arithmetic on such a
  chip is taken to reach the median share of timed chips; much faster ones reach less, since
  everything around the arithmetic is no faster.
- What the host of an engine takes to launch an operation (`cost.launches`).
- What a request and a token of its input take before the engine: HTTP server and tokeniser.

`tools/fit_serving.py` writes them, and the same without one model, to `cost/data/serving.toml`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from servetwin.calibrate.polling import simulate_polled
from servetwin.cost import derive
from servetwin.cost.curves import VLLM, curves_from, read_curves
from servetwin.cost.frontends import frontend_from
from servetwin.results.latencies import latencies_ps
from servetwin.sim import SimOptions
from servetwin.types import Deployment, Workload
from servetwin.units import PS_PER_S

__all__ = ["FAMILY", "Run", "fit_serving"]

Floats = NDArray[np.float64]
Serving = Mapping[str, Any]

FAMILY = {"name": "Blackwell", "applies_to": ["B200", "B300", "GB200", "GB300"]}
"""Chips without kernel timings that share one architecture, by the starts of their names."""

TTFT_WEIGHT = 0.3
"""Of a relative error of TTFT, which is noisier, against one of TPOT."""
STARTS = ((0.8, 40.0, 10_000.0, 4.0), (0.8, 25.0, 13_000.0, 5.0))
"""Several: runs hardly tell a longer front end from slower launches."""
LEAST, MOST = (0.1, 0.0, 0.0, 0.0), (1.0, 500.0, 100_000.0, 100.0)
"""Share of the peak, and microseconds an operation, a request and a token."""


@dataclass(frozen=True)
class Run:
    """A measured closed loop. Seconds, means over requests."""

    deployment: Deployment
    workload: Callable[[], Workload]
    ttft: float
    tpot: float
    engine: str = VLLM
    polled: int = 0
    """Iterations after which the engine looks for new requests; 0: after each."""


def fit_serving(runs: Sequence[Run]) -> dict[str, Any]:
    """Fit robustly to relative errors; all runs are of one device of the family.

    vLLM's runs say everything, the other engines' only what their hosts take, from TTFT alone.
    An engine without runs is taken to be as fast as vLLM's.
    """
    own = [(run, run.workload()) for run in runs if run.engine == VLLM]
    fitted = _table(own[0][0].deployment.accelerator.name, _fit_all(own))
    for engine in sorted({run.engine for run in runs} - {VLLM}):
        others = [(run, run.workload()) for run in runs if run.engine == engine]
        fitted["operation_us"][engine] = _fit_operation(fitted, engine, others)
    return fitted


def _table(device: str, values: Floats) -> dict[str, Any]:
    share, operation, request, token = values.tolist()
    return {
        "fitted_on": device,
        "operation_us": {VLLM: operation},
        "frontend": {"request_us": request, "token_us": token},
        "compute": {FAMILY["name"]: {"applies_to": FAMILY["applies_to"], "share": share}},
    }


def _fit_all(runs: Sequence[tuple[Run, Workload]]) -> Floats:
    from scipy.optimize import least_squares

    device = runs[0][0].deployment.accelerator.name
    scale = np.array(STARTS[0])

    def residual(values: Floats) -> Floats:
        table = _table(device, values * scale)
        errors = [_errors(run, load, table) for run, load in runs]
        return np.concatenate([[tpot, TTFT_WEIGHT * ttft] for ttft, tpot in errors])

    bounds = (np.array(LEAST) / scale, np.array(MOST) / scale)
    options = {"loss": "soft_l1", "f_scale": 0.1, "diff_step": 0.05, "xtol": 1e-3}
    tries = [
        least_squares(residual, np.array(start) / scale, bounds=bounds, **options)
        for start in STARTS
    ]
    return np.asarray(min(tries, key=lambda tried: tried.cost).x * scale)


def _fit_operation(fitted: Serving, engine: str, runs: Sequence[tuple[Run, Workload]]) -> float:
    from scipy.optimize import minimize_scalar

    def loss(operation: float) -> float:
        table = {**fitted, "operation_us": {engine: operation}}
        return float(sum(abs(np.expm1(_errors(run, load, table)[0])) for run, load in runs))

    found = minimize_scalar(loss, bounds=(0.0, 200.0), method="bounded", options={"xatol": 0.5})
    return float(found.x)


def _errors(run: Run, load: Workload, serving: Serving) -> tuple[float, float]:
    """Logarithms of predicted over measured TTFT and TPOT."""
    curves = curves_from(read_curves(), run.deployment.accelerator.name, serving, run.engine)
    deployment = replace(run.deployment, frontend=frontend_from(serving))
    typical = round(float(np.mean(load.input_tokens + load.output_tokens / 2)))
    cost = derive(deployment, typical, curves=curves)
    options = SimOptions(snapshot_interval=0, token_gaps=False, say=lambda _: None)
    result, wait = simulate_polled(deployment, load, cost, run.polled, options)
    ttft, tpot = (float(latencies_ps(result.requests, name).mean()) for name in ("ttft", "tpot"))
    return (
        float(np.log((ttft + wait) / PS_PER_S / run.ttft)),
        float(np.log(tpot / PS_PER_S / run.tpot)),
    )
