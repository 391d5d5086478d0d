"""How fast the kernel is, against the reference and against its own goals.

Run: `make bench`, or `python benchmarks/simulator.py [--quick] [--json FILE]`.

Rates are requests per second of CPU time of one thread, the best of three runs; ratios
come from one process, so that both sides had the same machine. The workload is the
`azure-conv` preset (fitted to a public trace), at that trace's rate for each replica, on
Llama-3.1-8B and A100-80GB.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from servetwin.catalog import find_accelerator, find_link, find_model
from servetwin.cost import derive, resolve_settings
from servetwin.sim import SimOptions, simulate
from servetwin.types import ROUTERS, CostModel, Deployment, Workload
from servetwin.units import PS_PER_S
from servetwin.workload import generate, preset

RATE = 5.5
"""Requests per second and replica."""


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    name: str
    value: float
    goal: str
    met: bool
    unit: str

    def __str__(self) -> str:
        verdict = "ok" if self.met else "NOT MET"
        return f"{self.name:<52} {self.value:>9.4g} {self.unit:<9} {self.goal:<10} {verdict}"


def deployment(replicas: int = 1, router: str = "round-robin") -> tuple[Deployment, CostModel]:
    model, gpu = find_model("Llama-3.1-8B"), find_accelerator("A100-80GB")
    settings = resolve_settings(model, gpu)
    target = Deployment(model, gpu, find_link(gpu.link), settings=settings)
    return replace(target, replicas=replicas, router=router), derive(target, 1300)


def load(requests: int, replicas: int = 1) -> Workload:
    return generate(preset("azure-conv", requests=requests, rps=RATE * replicas, seed=1))


def cpu_seconds(workload: Workload, replicas: int, router: str, options: SimOptions) -> float:
    """Best of three runs, CPU seconds of this thread."""
    target, cost = deployment(replicas, router)
    best = float("inf")
    for _ in range(3):
        start = time.thread_time()
        simulate(target, workload, cost, options)
        best = min(best, time.thread_time() - start)
    return best


def speed(requests: int) -> list[Figure]:
    quiet = SimOptions(snapshot_interval=0)
    one = load(requests)
    single = cpu_seconds(one, 1, "round-robin", quiet)
    seen = cpu_seconds(one, 1, "round-robin", SimOptions(snapshot_interval=PS_PER_S))
    few = load(2_000)
    slow = cpu_seconds(few, 1, "round-robin", SimOptions(snapshot_interval=0, engine="reference"))
    rate = requests / single
    ratio = rate / (len(few) / slow)
    overhead = (seen / single - 1) * 100
    figures = [
        Figure("one replica", rate / 1e6, ">= 3", rate >= 3e6, "M req/s"),
        Figure("… over the reference", ratio, ">= 500", ratio >= 500, "x"),
        Figure("… more with 1 s snapshots", overhead, "< 15", overhead < 15, "%"),
    ]
    many = load(requests, 64)
    for router in ROUTERS:
        rate = requests / cpu_seconds(many, 64, router, quiet)
        figures.append(Figure(f"64 replicas, {router}", rate / 1e6, ">= 1", rate >= 1e6, "M req/s"))
    return figures


def _peak_megabytes(requests: int, answer: multiprocessing.Queue[float]) -> None:
    target, cost = deployment()
    simulate(target, load(requests), cost, SimOptions(snapshot_interval=0))
    answer.put(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def memory(requests: int) -> Figure:
    """Peak memory that each further million of requests takes: workload, run and result."""
    peaks = []
    for count in (requests, 3 * requests):
        context = multiprocessing.get_context("spawn")
        answer: multiprocessing.Queue[float] = context.Queue()
        process = context.Process(target=_peak_megabytes, args=(count, answer))
        process.start()
        peaks.append(answer.get())
        process.join()
    each = (peaks[1] - peaks[0]) / (2 * requests / 1e6)
    return Figure("memory per million requests", each, "<= 110", each <= 110, "MB")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the requests")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    requests = 100_000 if arguments.quick else 1_000_000
    figures = [*speed(requests), memory(requests)]
    print(f"{requests:,} requests a run, one thread, Python {sys.version.split()[0]}")
    for figure in figures:
        print(figure)
    if arguments.json:
        arguments.json.write_text(json.dumps([vars(figure) for figure in figures], indent=1))
    return int(not all(figure.met for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
