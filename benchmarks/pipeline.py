"""How fast DéjàVu's pipelines are simulated, against the same loops in plain Python.

10,000 requests in one run, with ShareGPT's lengths up to 1,000 tokens; prompts take 100 ms
and tokens 20 ms on a stage. The plain loops are the references of `sim.pipeline`: one event
after the other. CPU time of one thread, the best of three runs after one that compiles.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np

from benchmarks.figures import Figure, at_least, at_most
from servetwin.sim.pipeline import Load, Pipeline, Ring, Split, grouped_arrivals, run_pipeline
from servetwin.workload import generate, preset

__all__ = ["measure"]

GOALS = {"causal": 1000.0, "original": 100.0}
PIPELINES: dict[str, tuple[Pipeline, float]] = {
    "ring of 4": (Ring(4, 100e3, 20e3), 0.0),
    "split 2 + 2, 0.1/s": (Split(2, 2, 100e3, 20e3, 5e3), 0.1),
}
"""With requests a second; 0 lets all arrive at once."""


def load(requests: int, rps: float) -> Load:
    workload = generate(preset("sharegpt", requests, rps=1.0, seed=1))
    rounds = np.clip(workload.output_tokens, 2, 1000).astype(np.int64)
    return Load(rounds, grouped_arrivals(requests, rps))


def seconds(action: Callable[[], object], runs: int = 3) -> float:
    """CPU time of the fastest run."""
    taken = []
    for _ in range(runs):
        start = time.process_time()
        action()
        taken.append(time.process_time() - start)
    return min(taken)


def against_plain(requests: int) -> list[Figure]:
    """How many times faster the kernel is; it is run five times, the plain loop once."""
    figures = []
    for name, (pipeline, rps) in PIPELINES.items():
        asked = load(requests, rps)
        for semantics, goal in GOALS.items():
            run = partial(run_pipeline, pipeline, asked, semantics)
            run()
            quotient = seconds(partial(run, kernel=False), 1) / seconds(run, 5)
            label = f"pipeline, {semantics}, {name}"
            figures.append(at_least(label, quotient, goal, "x Python"))
    return figures


def large(requests: int, goal: float) -> list[Figure]:
    """Sixteen stages, causal; half the times, since the clock ends after 106 days."""
    figures = []
    pipelines: dict[str, Pipeline] = {
        "ring of 16": Ring(16, 50e3, 10e3),
        "split 4 + 12": Split(4, 12, 50e3, 10e3, 5e3),
    }
    for name, pipeline in pipelines.items():
        asked = load(requests, 0.3)
        run_pipeline(pipeline, load(100, 0.3))
        taken = seconds(partial(run_pipeline, pipeline, asked), 1)
        label = f"{requests / 1e6:g} M requests, causal, {name}"
        figures.append(at_most(label, taken, goal, "s"))
    return figures


def measure(quick: bool) -> list[Figure]:
    """The pipelines' figures; `quick` uses a tenth of the requests."""
    if quick:
        return [*against_plain(1_000), *large(100_000, 1)]
    return [*against_plain(10_000), *large(1_000_000, 10)]


if __name__ == "__main__":
    for figure in measure(quick=False):
        print(figure)
