"""How fast the kernel is while replicas keep the KV blocks of inputs.

Mooncake's conversations (12,031 requests, 9.1 M references to blocks of 16 tokens) on
Llama-3.1-70B and eight H100 a replica. Rates are per second of CPU time of one thread, the
best of three whole runs; cutting the inputs into blocks is part of a run. Without the trace
there are no figures.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.figures import Figure, at_least
from servetwin.catalog import find_accelerator, find_link, find_model
from servetwin.cost import derive, resolve_settings
from servetwin.sim import SimOptions, simulate
from servetwin.sim.prefixes import find_prefixes
from servetwin.types import Deployment, Parallelism, Workload
from servetwin.workload import read

__all__ = ["measure"]

BESIDE = Path(__file__).parent.parent.parent / "shared" / "data"
TRACE = Path("traces", "mooncake", "conversation_trace.jsonl")

RUNS = {
    ("vllm-lru", 1, "round-robin"): 10.0,
    ("s3-fifo", 1, "round-robin"): 10.0,
    ("flop-aware", 1, "round-robin"): 5.0,
    ("lfu", 1, "round-robin"): 2.0,
    ("vllm-lru", 8, "least-outstanding"): 5.0,
    ("vllm-lru", 8, "cache-aware"): 5.0,
}
"""Millions of block references a second."""


def deployment(policy: str, replicas: int, router: str) -> Deployment:
    model, gpu = find_model("Llama-3.1-70B"), find_accelerator("H100-SXM")
    settings = replace(resolve_settings(model, gpu), prefix_caching_policy=policy)
    layout = Parallelism(tp=8)
    return Deployment(model, gpu, find_link(gpu.link), layout, settings, replicas, router)


def cpu_seconds(workload: Workload, target: Deployment) -> float:
    cost = derive(target, 10_000)
    best = float("inf")
    for _ in range(4):  # the first may compile
        start = time.thread_time()
        simulate(target, workload, cost, SimOptions(snapshot_interval=0))
        best = min(best, time.thread_time() - start)
    return best


def measure(quick: bool) -> list[Figure]:  # noqa: ARG001 (quick enough)
    """References a second by policy and cluster, and requests a second."""
    path = Path(os.environ.get("SERVETWIN_DATA", BESIDE)) / TRACE
    if not path.exists():
        print(f"prefix caching: no {path} (set SERVETWIN_DATA)")
        return []
    workload = read(path)
    prefixes = find_prefixes(workload, deployment("vllm-lru", 1, "round-robin").settings)
    assert prefixes is not None
    figures = []
    for (policy, replicas, router), goal in RUNS.items():
        seconds = cpu_seconds(workload, deployment(policy, replicas, router))
        name = f"Mooncake x {replicas}, {policy}" + (f", {router}" if replicas > 1 else "")
        rate = prefixes.blocks.references / seconds
        figures.append(at_least(name, rate / 1e6, goal, "M ref/s"))
        if policy == "vllm-lru":
            figures.append(at_least(name, len(workload) / seconds / 1e3, 5, "k req/s"))
    return figures
