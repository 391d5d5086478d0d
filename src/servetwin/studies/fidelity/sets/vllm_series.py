"""Generated tokens by second: vLLM 0.11 on RTX A6000, and an H100 machine."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from servetwin.studies.fidelity.points import MeasuredSet, Point, deploy, one
from servetwin.studies.fidelity.sets import rows_of
from servetwin.types import Parallelism
from servetwin.workload import read

__all__ = ["MACHINES", "POOLS", "WORKLOAD", "load", "tokens_per_second"]

WORKLOAD = "dataset/sharegpt_req300_rate10_llama.jsonl"
MACHINES = {
    "A6000": ("RTX-A6000", "meta-llama/Llama-3.1-8B", 1),
    "H100": ("H100-SXM", "meta-llama/Llama-3.1-70B", 4),
}
"""Folder: GPU, model and tensor parallelism, as the configurations beside them state."""
REPLICAS = {"SD+PC": 1, "MD": 2}
POOLS = ("PDD",)


def load(folder: Path) -> MeasuredSet:
    """One point for each series of aggregated serving."""
    found = MeasuredSet("vllm-series", [], said=SAID)
    for path in sorted(folder.glob("figure_5/*/*_throughput.tsv")):
        machine, series = path.parent.name, path.name.removesuffix("_throughput.tsv")
        if series in POOLS:
            found.left_out["disaggregated: in the set vllm-series-pools"] += 1
        elif machine in MACHINES and series in REPLICAS:
            found.points.append(_point(folder, path, machine, series))
        else:
            found.left_out[f"series {machine}/{series} is not known"] += 1
    return found


SAID = (
    "throughput is that of the whole run, from the first second to the last with tokens; "
    "requests come at 10/s, so a fast machine is measured by its tail",
    "prefix caching is on, of the blocks that the token ids name; two instances take turns; "
    "engine settings are vLLM's defaults but for max-model-len 8192",
)


def _point(folder: Path, path: Path, machine: str, series: str) -> Point:
    gpu, model, tp = MACHINES[machine]
    return Point(
        group=f"vLLM series, {machine}",
        label=f"{model}, {tp} x {gpu}, {series}",
        deployment=deploy(model, gpu, Parallelism(tp=tp), REPLICAS[series], max_model_len=8192),
        workload=lambda: read(folder / WORKLOAD),
        measured=one(throughput=tokens_per_second(path)),
        statistics={"throughput": "output"},
        tags={"gpu": gpu, "model": model, "engine": "vLLM"},
    )


def tokens_per_second(path: Path) -> float:
    """Of the whole run, from the first second to the last with tokens."""
    rows = [row["time_s\tthroughput"].split("\t") for row in rows_of(path)]
    seconds, tokens = np.array(rows, dtype=np.float64).T
    busy = seconds[tokens > 0]
    return float(tokens.sum() / busy[-1])
