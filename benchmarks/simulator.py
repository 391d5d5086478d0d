"""How fast the kernel is, against the reference and against its own goals.

Rates are requests per second of CPU time of one thread, the best of three runs; ratios come
from one process, so that both sides had the same machine. The workload is the `azure-conv`
preset (fitted to a public trace), at that trace's rate for each replica, on Llama-3.1-8B
and A100-80GB.
"""

from __future__ import annotations

import multiprocessing
import time
from dataclasses import replace

from benchmarks.figures import Figure, at_least, at_most
from benchmarks.memory import own_peak_megabytes
from servetwin.catalog import find_accelerator, find_link, find_model
from servetwin.cost import derive, resolve_settings
from servetwin.sim import SimOptions, simulate
from servetwin.types import ROUTERS, CostModel, DecodePool, Deployment, Workload
from servetwin.units import PS_PER_S
from servetwin.workload import generate, preset

__all__ = ["measure"]

RATE = 5.5
"""Requests per second and replica."""


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
    figures = [
        at_least("one replica", rate / 1e6, 3, "M req/s"),
        at_least("one replica, over the reference", rate / (len(few) / slow), 500, "x"),
        at_most("1 s snapshots, more time", (seen / single - 1) * 100, 15, "%"),
    ]
    many = load(requests, 64)
    for router in ROUTERS:
        rate = requests / cpu_seconds(many, 64, router, quiet)
        figures.append(at_least(f"64 replicas, {router}", rate / 1e6, 1, "M req/s"))
    return figures


def pools(requests: int) -> Figure:
    """4 prefill and 8 decode replicas, at the trace's rate for each of the 12."""
    target, cost = deployment(4)
    decode = DecodePool(
        target.accelerator,
        target.link,
        find_link("InfiniBand-NDR"),
        settings=target.settings,
        replicas=8,
        router="least-tokens",
    )
    both, costs = replace(target, decode=decode), replace(cost, decode=cost)
    workload, best = load(requests, 12), float("inf")
    for _ in range(3):
        start = time.thread_time()
        simulate(both, workload, costs, SimOptions(snapshot_interval=0))
        best = min(best, time.thread_time() - start)
    return at_least("4 prefill and 8 decode replicas", requests / best / 1e6, 0.7, "M req/s")


def _peak_megabytes(requests: int, answer: multiprocessing.Queue[float]) -> None:
    target, cost = deployment()
    simulate(target, load(requests), cost, SimOptions(snapshot_interval=0))
    answer.put(own_peak_megabytes())


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
    return at_most("memory", (peaks[1] - peaks[0]) / (2 * requests / 1e6), 110, "MB/M req")


def measure(quick: bool) -> list[Figure]:
    """The kernel's figures; `quick` uses a tenth of the requests."""
    requests = 100_000 if quick else 1_000_000
    return [*speed(requests), pools(requests), memory(requests)]
