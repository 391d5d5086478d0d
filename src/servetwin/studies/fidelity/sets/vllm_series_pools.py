"""Generated tokens by second of a vLLM with one prefill and one decode instance."""

from __future__ import annotations

from pathlib import Path

from servetwin.catalog import find_link
from servetwin.studies.fidelity.points import MeasuredSet, Point, deploy, in_pools, one
from servetwin.studies.fidelity.sets.vllm_series import (
    MACHINES,
    POOLS,
    WORKLOAD,
    tokens_per_second,
)
from servetwin.types import Parallelism
from servetwin.workload import read

__all__ = ["load"]

LINKS = {"A6000": "NVLink3-bridge-x4", "H100": "NVSwitch3"}
"""Between the two instances, by machine."""


def load(folder: Path) -> MeasuredSet:
    """One point for each disaggregated series."""
    paths = sorted(folder.glob("figure_5/*/*_throughput.tsv"))
    points = [
        _point(folder, path, path.parent.name)
        for path in paths
        if path.name.removesuffix("_throughput.tsv") in POOLS and path.parent.name in MACHINES
    ]
    return MeasuredSet("vllm-series-pools", points, said=SAID)


SAID = (
    "one prefill and one decode instance, as the configuration beside the series says; it states "
    "112 GB/s between them, both ways together, which is the NVLink bridge of the RTX A6000",
    "all else as in vllm-series",
)


def _point(folder: Path, path: Path, machine: str) -> Point:
    gpu, model, tp = MACHINES[machine]
    engine = deploy(model, gpu, Parallelism(tp=tp), max_model_len=8192)
    return Point(
        group=f"vLLM series in pools, {machine}",
        label=f"{model}, {tp} x {gpu} and {tp} x {gpu}, PDD",
        deployment=in_pools(engine, engine, find_link(LINKS[machine])),
        workload=lambda: read(folder / WORKLOAD),
        measured=one(throughput=tokens_per_second(path)),
        statistics={"throughput": "output"},
        first_token_waits=True,
        tags={"gpu": gpu, "model": model, "engine": "vLLM"},
    )
