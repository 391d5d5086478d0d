"""Two runs of vLLM 0.19, request by request, on the engine's clock."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from servetwin.studies.fidelity.points import MeasuredSet, Point, deploy
from servetwin.workload import read

__all__ = ["load"]

MODEL = "Llama-3.1-8B"
WORKLOAD = "workloads_sharegpt-llama-3.1-8b-300-sps10.jsonl"
GPUS = {"RTX4090": "RTX-4090", "RTXPRO6000": "RTX-PRO-6000"}
SETTINGS = ("max_num_seqs", "max_num_batched_tokens", "max_model_len")


def load(folder: Path) -> MeasuredSet:
    """Points for each run: every request by itself, and the means of all."""
    points = [
        _point(folder, name, gpu, statistic)
        for name, gpu in GPUS.items()
        for statistic in ("each", "mean")
    ]
    said = (
        "TTFT counts from the engine's queue, as the source defines it; both runs are saturated, "
        "so it is mostly queueing",
    )
    return MeasuredSet("vllm-runs", points, said=said)


def _point(folder: Path, name: str, gpu: str, statistic: str) -> Point:
    meta = json.loads((folder / f"{name}_{MODEL}_vllm_meta.json").read_text(encoding="utf-8"))
    engine = {key: meta["engine_kwargs"].get(key) for key in SETTINGS}
    rows = [
        json.loads(line)
        for line in (folder / f"{name}_{MODEL}_vllm_requests.jsonl").read_text().splitlines()
    ]
    queued, first, last, tokens = (
        np.array([row[key] for row in rows], dtype=np.float64)
        for key in ("queued_ts", "first_token_ts", "last_token_ts", "output_toks")
    )
    gaps = np.where(tokens > 1, tokens - 1, np.nan)
    each = {"ttft": first - queued, "tpot": (last - first) / gaps, "e2e": last - queued}
    measured = each
    if statistic == "mean":
        measured = {metric: np.array([np.nanmean(values)]) for metric, values in each.items()}
        measured["throughput"] = np.array([tokens.sum() / (last.max() - queued.min())])
    return Point(
        group=f"vLLM run, {gpu}, {'each request' if statistic == 'each' else 'means'}",
        label=f"{MODEL}, {gpu}, {len(rows)} requests",
        deployment=deploy(MODEL, gpu, **engine),
        workload=lambda: read(folder / WORKLOAD),
        measured=measured,
        statistics={"ttft": statistic, "tpot": statistic, "e2e": statistic, "throughput": "output"},
        tags={"gpu": gpu, "model": MODEL, "engine": "vLLM"},
    )
