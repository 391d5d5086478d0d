"""Engines that look for new requests only every so many iterations (SGLang's recv interval)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from servetwin.results.latencies import latencies_ps
from servetwin.sim import SimOptions, simulate
from servetwin.types import CostModel, Deployment, RunResult, Workload

__all__ = ["simulate_polled"]


def simulate_polled(
    deployment: Deployment,
    workload: Workload,
    cost: CostModel,
    polled: int,
    options: SimOptions,
) -> tuple[RunResult, int]:
    """Simulate a closed loop, and say how many picoseconds its mean TTFT is longer than there.

    Requests wait for half of `polled` iterations on average, each as long as the mean TPOT of
    a run without that. The first ones find an idle engine, which looks all the time.
    """
    run = simulate(deployment, workload, cost, options)
    if not polled or workload.parent is None or workload.think_time is None:
        return run, 0
    wait = round(polled / 2 * float(latencies_ps(run.requests, "tpot").mean()))
    follows = workload.parent >= 0
    later = np.where(follows, workload.think_time + wait, 0)
    found = simulate(deployment, replace(workload, think_time=later), cost, options)
    return found, round(wait * float(follows.mean()))
