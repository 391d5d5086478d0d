"""A ring of machines of which some fail: with replicated KV caches, without, and not at all."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from servetwin.errors import InputError
from servetwin.sim.pipeline import Failures, PipelineRun, Ring, run_pipeline
from servetwin.studies.dejavu.simulating import Asked, Done, simulate

if TYPE_CHECKING:
    from servetwin.report.figures import Chart

__all__ = ["Compared", "Recovery", "compare", "failure_times"]

HORIZON = 4.0
"""Machines that fail at a rate are drawn to fail up to so many makespans without failures."""
MOST_FAILURES = 10_000
POINTS = 300


@dataclass(frozen=True)
class Recovery:
    """What passes until the ring goes on. GB of one machine, decimal; times in seconds."""

    detect_s: float = 3.0
    restart_s: float = 20.0
    weights_gb: float = 0.0
    kv_gb: float = 0.0
    load_gbs: float = 1.0
    lag: int = 1

    def __post_init__(self) -> None:
        for name in ("detect_s", "restart_s", "weights_gb", "kv_gb"):
            if not 0 <= getattr(self, name) < 1e6:
                raise InputError(
                    f"--{name} {getattr(self, name):g}: must lie between 0 and a million"
                )
        if not 0 < self.load_gbs < math.inf:
            raise InputError(f"--load_gbs {self.load_gbs:g}: must be above 0")

    def stall_s(self, replicated: bool) -> float:
        """Detect, restart, load the weights, and with replicas restore the KV caches."""
        loaded = self.weights_gb + (self.kv_gb if replicated else 0.0)
        return self.detect_s + self.restart_s + loaded / self.load_gbs


@dataclass(frozen=True)
class Compared:
    """The same requests in three rings, by what happens there."""

    done: Done
    at_s: tuple[float, ...]
    stalls: dict[str, float]
    """Seconds that the ring stands still for each failure."""
    runs: dict[str, PipelineRun]

    def rows(self) -> Iterator[dict[str, Any]]:
        """One row a ring: what was lost, and how much later requests were complete."""
        calm = self.runs["no failure"]
        for name, run in self.runs.items():
            each = self.stalls[name]
            struck = _struck(self.at_s, run, each) if run is not calm else 0
            seconds = (run.completion_us - run.load.arrival_us) / 1e6
            added = (run.completion_us - calm.completion_us) / 1e6
            prompts, rounds, interrupted = run.lost
            yield {
                "ring": name,
                "makespan_s": run.makespan_us / 1e6,
                "stall_s": each * struck,
                "failures": struck,
                "prompts_redone": prompts,
                "rounds_redone": rounds,
                "passes_interrupted": interrupted,
                "mean_latency_s": float(seconds.mean()),
                "added_mean_s": float(added.mean()),
                "added_max_s": float(added.max()),
                "completed": int(np.count_nonzero(run.completion > 0)),
            }

    def chart(self) -> Chart:
        """How much later requests are complete, over the time at which they else would be."""
        from servetwin.report.dejavu_figures import delay_over_time

        calm = self.runs["no failure"].completion_us / 1e6
        order = np.argsort(calm, kind="stable")
        shown = order[np.unique(np.linspace(0, order.size - 1, POINTS).astype(int))].tolist()
        rings = [name for name in self.runs if name != "no failure"]
        rows = [
            {
                "t": float(calm[request]),
                "delay": float(self.runs[name].completion_us[request] / 1e6 - calm[request]),
                "ring": name,
            }
            for name in rings
            for request in shown
        ]
        machines = self.done.run.pipeline.machines
        text = f"A ring of {machines}: how much later requests are complete"
        return delay_over_time(rows, rings, self.at_s, (text, self._conditions()))

    def _conditions(self) -> str:
        asked = self.done.asked.pipeline
        times = (
            f"{asked.prompt_us / 1e3:g} ms a prompt and {asked.token_us / 1e3:g} ms a token "
            "on each stage, as given"
        )
        return f"{self.done.stand_in}; {times}" if self.done.stand_in else times


def _struck(at_s: Sequence[float], run: PipelineRun, stall_s: float) -> int:
    """Failures that stop the ring: in the run, and not while it stands still already."""
    count, back = 0, -1.0
    for at in at_s:
        if back < at <= run.makespan_us / 1e6:
            count, back = count + 1, at + stall_s
    return count


def compare(asked: Asked, trace: Path | None, when: str, recovery: Recovery) -> Compared:
    """Simulate the ring three times. Raises InputError."""
    if asked.semantics != "causal" or not isinstance(asked.pipeline, Ring):
        raise ValueError("machines fail in a causal Ring only")
    done = simulate(asked, trace)
    at_s = failure_times(when, done.run)
    runs, stalls = {"no failure": done.run}, {"no failure": 0.0}
    for name, replicated in (("replicated", True), ("not replicated", False)):
        stalls[name] = recovery.stall_s(replicated)
        at_us = tuple(at * 1e6 for at in at_s)
        failures = Failures(at_us, stalls[name] * 1e6, replicated, recovery.lag)
        runs[name] = run_pipeline(asked.pipeline, done.run.load, failures=failures)
    ends = max(run.makespan_us for run in runs.values()) / 1e6
    return Compared(done, tuple(at for at in at_s if at <= ends), stalls, runs)


def failure_times(when: str, run: PipelineRun) -> tuple[float, ...]:
    """Seconds from `50%` (of the makespan), `10,20.5`, or `mtbf=5h` of each machine.

    Raises InputError for anything else.
    """
    makespan = run.makespan_us / 1e6
    text = when.strip()
    try:
        if text.startswith("mtbf="):
            unit = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}[text[-1]]
            return _drawn(float(text[5:-1]) * unit / run.pipeline.machines, HORIZON * makespan)
        parts = [part.strip() for part in text.split(",")]
        times = [
            float(part[:-1]) / 100 * makespan if part.endswith("%") else float(part)
            for part in parts
        ]
    except (ValueError, KeyError, IndexError):
        times = [-1.0]
    if not all(0 <= time < math.inf for time in times):
        raise InputError(
            f"--fail_at '{when}': must be 50% of the run, seconds such as 10,20.5, or mtbf=5h"
        )
    return tuple(sorted(times))


def _drawn(mean_s: float, until_s: float) -> tuple[float, ...]:
    """A Poisson process of failures, the same for all rings."""
    if not mean_s > 0 or not math.isfinite(mean_s):
        raise ValueError("a mean time between failures is above 0")
    if until_s / mean_s > MOST_FAILURES:
        raise InputError("--fail_at: machines fail too often for the ring ever to get on")
    count = int(until_s / mean_s * 2 + 50)
    times = np.cumsum(np.random.default_rng(42).exponential(mean_s, count))
    return tuple(times[times < until_s].tolist())
