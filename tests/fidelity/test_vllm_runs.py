"""Whole measured runs of vLLM 0.19, simulated from their description alone."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from servetwin.catalog import find_accelerator, find_link, find_model
from servetwin.cost import derive, resolve_settings
from servetwin.sim import simulate
from servetwin.types import Deployment, RequestTable
from servetwin.units import PS_PER_S
from servetwin.workload import read

PAGE = Path(__file__).resolve().parents[2] / "docs" / "background" / "cost.md"
WORKLOAD = "workloads_sharegpt-llama-3.1-8b-300-sps10.jsonl"
BOUNDS = {"TTFT": 0.12, "TPOT": 0.05, "E2E": 0.07}


def measured_means(path: Path) -> dict[str, float]:
    """Seconds. The engine's clock: TTFT counts from its queue, as the source defines it."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    queued, first, last, tokens = (
        np.array([row[key] for row in rows], float)
        for key in ("queued_ts", "first_token_ts", "last_token_ts", "output_toks")
    )
    return {
        "TTFT": float((first - queued).mean()),
        "TPOT": float(((last - first) / np.maximum(tokens - 1, 1)).mean()),
        "E2E": float((last - queued).mean()),
    }


def simulated_means(requests: RequestTable) -> dict[str, float]:
    gaps = np.maximum(requests.output_tokens - 1, 1)
    values = {
        "TTFT": requests.first_token - requests.arrival,
        "TPOT": (requests.finish - requests.first_token) / gaps,
        "E2E": requests.finish - requests.arrival,
    }
    return {name: float(value.mean()) / PS_PER_S for name, value in values.items()}


@pytest.mark.parametrize("gpu", ["RTX4090", "RTXPRO6000"])
def test_means_of_a_saturated_run(data_dir: Path, gpu: str) -> None:
    folder = data_dir / "measured" / "vllm_runs"
    meta = json.loads((folder / f"{gpu}_Llama-3.1-8B_vllm_meta.json").read_text())
    wanted = ("max_num_seqs", "max_num_batched_tokens", "max_model_len")
    chosen = {name: meta["engine_kwargs"].get(name) for name in wanted}
    model, accelerator = find_model("Llama-3.1-8B"), find_accelerator(gpu)
    deployment = Deployment(
        model,
        accelerator,
        find_link(accelerator.link),
        settings=resolve_settings(model, accelerator, **chosen),
    )
    run = simulate(deployment, read(folder / WORKLOAD), derive(deployment, 1000))
    real = measured_means(folder / f"{gpu}_Llama-3.1-8B_vllm_requests.jsonl")
    found = simulated_means(run.requests)
    errors = {name: found[name] / real[name] - 1 for name in real}
    row = " | ".join(f"{errors[name]:+.1%}".replace("%", " %") for name in BOUNDS)
    print(f"| {gpu} | {row} |")
    for name, bound in BOUNDS.items():
        assert abs(errors[name]) < bound, name
    assert re.search(re.escape(f"| {gpu} | {row} |"), PAGE.read_text()), "docs/background/cost.md"
