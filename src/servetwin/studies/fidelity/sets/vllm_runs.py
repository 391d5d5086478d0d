"""Two runs of vLLM 0.19, request by request, on the engine's clock."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from servetwin.studies.fidelity.points import MeasuredSet, Point, deploy
from servetwin.units import ps_from_seconds
from servetwin.workload import read

__all__ = ["load"]

Floats = NDArray[np.float64]

MODEL = "Llama-3.1-8B"
WORKLOAD = "workloads_sharegpt-llama-3.1-8b-300-sps10.jsonl"
GPUS = {"RTX4090": "RTX-4090", "RTXPRO6000": "RTX-PRO-6000"}
SETTINGS = ("max_num_seqs", "max_num_batched_tokens", "max_model_len")


def load(folder: Path) -> MeasuredSet:
    """Points for each run: every request by itself and the means of all, at two levels."""
    points = [
        point
        for name, gpu in GPUS.items()
        for level in ("derived", "profiled")
        for point in _points(folder, name, gpu, level)
    ]
    said = (
        "requests arrive when the engine queued them, and TTFT counts from there; both runs are "
        "saturated, so it is mostly queueing",
    )
    return MeasuredSet("vllm-runs", points, said=said)


def _points(folder: Path, name: str, gpu: str, level: str) -> list[Point]:
    meta = json.loads((folder / f"{name}_{MODEL}_vllm_meta.json").read_text(encoding="utf-8"))
    text = (folder / f"{name}_{MODEL}_vllm_requests.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    queued, first, last, tokens = (
        np.array([row[key] for row in rows], dtype=np.float64)
        for key in ("queued_ts", "first_token_ts", "last_token_ts", "output_toks")
    )
    gaps = np.where(tokens > 1, tokens - 1, np.nan)
    each = {"ttft": first - queued, "tpot": (last - first) / gaps, "e2e": last - queued}
    means = {metric: np.array([np.nanmean(values)]) for metric, values in each.items()}
    means["throughput"] = np.array([tokens.sum() / (last.max() - queued.min())])
    arrival = ps_from_seconds(queued - queued[0])

    def point(statistic: str, what: str, measured: dict[str, Floats]) -> Point:
        times = dict.fromkeys(each, statistic)
        return Point(
            group=f"vLLM run, {gpu}, {level}, {what}",
            label=f"{MODEL}, {gpu}, {len(rows)} requests",
            deployment=deploy(MODEL, gpu, **{k: meta["engine_kwargs"].get(k) for k in SETTINGS}),
            workload=lambda: replace(read(folder / WORKLOAD), arrival=arrival),
            measured=measured,
            statistics={**times, "throughput": "output"},
            profiles="vllm_layers" if level == "profiled" else "",
            tags={"gpu": gpu, "model": MODEL, "engine": "vLLM"},
        )

    return [point("each", "each request", each), point("mean", "means", means)]
