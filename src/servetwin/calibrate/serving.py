"""Fit to measured serving runs what no kernel timings tell: one number a family of chips.

Arithmetic on a chip that was not timed is taken to reach the median share of its peak that
timed chips reach. Much faster chips reach less, since everything around it is no faster.
`tools/fit_serving.py` writes the share, and those without one model, to
`cost/data/serving.toml`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from servetwin.cost import derive
from servetwin.cost.curves import curves_from, read_curves
from servetwin.results.latencies import latencies_ps
from servetwin.sim import SimOptions, simulate
from servetwin.types import Deployment, Workload
from servetwin.units import PS_PER_S

__all__ = ["FAMILIES", "Run", "fit_serving"]

Floats = NDArray[np.float64]

FAMILIES = {"Blackwell": ("B200", "B300", "GB200", "GB300")}
"""Chips without kernel timings that share one architecture: starts of their names."""

TTFT_WEIGHT = 0.3
"""Of a relative error of TTFT, which is noisier, against one of TPOT."""


@dataclass(frozen=True)
class Run:
    """A measured closed loop. Seconds, means over requests."""

    deployment: Deployment
    workload: Callable[[], Workload]
    ttft: float
    tpot: float


def fit_serving(runs: Sequence[Run]) -> dict[str, Any]:
    """Return `compute` of serving.toml, fitted robustly to relative errors.

    Runs of a family are all of one device. A family without any is not stated, which leaves
    its curves as they are.
    """
    return {
        name: {
            "applies_to": list(starts),
            "fitted_on": chosen[0].deployment.accelerator.name,
            "share": _fit_share(name, chosen),
        }
        for name, starts in FAMILIES.items()
        if (chosen := [run for run in runs if run.deployment.accelerator.name.startswith(starts)])
    }


def _fit_share(family: str, runs: Sequence[Run]) -> float:
    from scipy.optimize import least_squares

    work = [run.workload() for run in runs]

    def residual(values: Floats) -> Floats:
        entry = {"applies_to": list(FAMILIES[family]), "share": float(values[0])}
        serving = {"compute": {family: entry}}
        errors = [_errors(run, load, serving) for run, load in zip(runs, work, strict=True)]
        return np.concatenate(errors)

    bounds, step = ([0.1], [1.0]), 0.05
    found = least_squares(
        residual, [0.8], bounds=bounds, loss="soft_l1", f_scale=0.1, diff_step=step, xtol=1e-3
    )
    return float(found.x[0])


def _errors(run: Run, load: Workload, serving: Mapping[str, Any]) -> Floats:
    """Logarithms of predicted over measured TPOT and, with less weight, TTFT."""
    curves = curves_from(read_curves(), run.deployment.accelerator.name, serving)
    typical = round(float(np.mean(load.input_tokens + load.output_tokens / 2)))
    cost = derive(run.deployment, typical, curves=curves)
    options = SimOptions(snapshot_interval=0, token_gaps=False, say=lambda _: None)
    table = simulate(run.deployment, load, cost, options).requests
    ttft, tpot = (float(latencies_ps(table, name).mean()) / PS_PER_S for name in ("ttft", "tpot"))
    return np.array([np.log(tpot / run.tpot), TTFT_WEIGHT * np.log(ttft / run.ttft)])
