"""How fast the kernel is with a tier of host memory below HBM.

Mooncake's conversations (12,031 requests) on Llama-3.1-8B and one H100, whose HBM is short of
room: with 256 GB of host memory 8 M blocks are written and 0.5 M come back. Rates are requests
per second of CPU time of one thread, the best of three whole runs, with and without the tier
in turn; the reference simulator runs once, on the first requests of the same trace, and the
kernel on those again. Without the trace there are no figures.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.figures import Figure, at_least, at_most
from benchmarks.prefix_caching import BESIDE, TRACE
from servetwin.catalog import find_accelerator, find_link, find_model
from servetwin.cost import derive, resolve_settings
from servetwin.sim import SimOptions, simulate
from servetwin.types import Deployment, KVTier, Workload
from servetwin.workload import read, take

__all__ = ["measure"]

HOST = KVTier("host", capacity=256_000_000_000, bandwidth=25e9, latency=10e-6)
AVERAGE_CONTEXT = 10_000
FEW = 500
"""Requests of the reference simulator, about 20 s of it."""


def deployment(*tiers: KVTier) -> Deployment:
    model, gpu = find_model("Llama-3.1-8B"), find_accelerator("H100-SXM")
    settings = replace(
        resolve_settings(model, gpu), prefix_caching_policy="vllm-lru", kv_tiers=tiers
    )
    return Deployment(model, gpu, find_link(gpu.link), settings=settings)


def cpu_seconds(target: Deployment, workload: Workload, engine: str = "kernel") -> float:
    options = SimOptions(snapshot_interval=0, engine=engine)
    cost = derive(target, AVERAGE_CONTEXT)
    start = time.thread_time()
    simulate(target, workload, cost, options)
    return time.thread_time() - start


def measure(quick: bool) -> list[Figure]:
    """Requests a second without tiers, with one, and how far the reference is behind."""
    path = Path(os.environ.get("SERVETWIN_DATA", BESIDE)) / TRACE
    if not path.exists():
        print(f"KV tiers: no {path} (set SERVETWIN_DATA)")
        return []
    workload, few = read(path), take(read(path), FEW // 5 if quick else FEW)
    plain, tiered = deployment(), deployment(HOST)
    for target in (plain, tiered):
        cpu_seconds(target, few)  # the first may compile
    turns = [[cpu_seconds(target, workload) for target in (plain, tiered)] for _ in range(3)]
    without, with_host = (min(times) for times in zip(*turns, strict=True))
    kernel = min(cpu_seconds(tiered, few) for _ in range(3))
    reference = cpu_seconds(tiered, few, "reference")
    return [
        at_least("Mooncake, no tier", len(workload) / without / 1e3, 5, "k req/s"),
        at_least("Mooncake, host tier", len(workload) / with_host / 1e3, 5, "k req/s"),
        at_most("time with the tier, of that without", with_host / without, 2, "x"),
        at_least("reference, host tier", len(few) / reference, 1, "req/s"),
        at_least(f"host tier, first {len(few)}, over it", reference / kernel, 100, "x"),
    ]
