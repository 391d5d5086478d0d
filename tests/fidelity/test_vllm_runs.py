"""Whole measured runs of vLLM 0.19, simulated from their description alone."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from servetwin.catalog import find_accelerator, find_link, find_model
from servetwin.cost import derive, resolve_settings
from servetwin.sim import simulate
from servetwin.types import Deployment, RequestTable
from servetwin.units import PS_PER_S
from servetwin.workload import read

PAGE = Path(__file__).resolve().parents[2] / "docs" / "background" / "cost.md"
WORKLOAD = "workloads_sharegpt-llama-3.1-8b-300-sps10.jsonl"
Floats = NDArray[np.float64]
BOUNDS = {"TTFT": 0.12, "TPOT": 0.05, "E2E": 0.07}


def measured_means(path: Path) -> dict[str, float]:
    """Seconds. The engine's clock: TTFT counts from its queue, as the source defines it."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    queued, first, last, tokens = (
        np.array([row[key] for row in rows], float)
        for key in ("queued_ts", "first_token_ts", "last_token_ts", "output_toks")
    )
    return means(first - queued, last - first, tokens)


def simulated_means(requests: RequestTable) -> dict[str, float]:
    waited, decoded = (
        (end - start) / PS_PER_S
        for start, end in (
            (requests.arrival, requests.first_token),
            (requests.first_token, requests.finish),
        )
    )
    return means(waited, decoded, requests.output_tokens)


def means(waited: Floats, decoded: Floats, tokens: NDArray[Any]) -> dict[str, float]:
    """TTFT, TPOT and E2E; a request of a single output token has no TPOT."""
    several = tokens > 1
    tpot = decoded[several] / (tokens[several] - 1)
    return {
        "TTFT": float(waited.mean()),
        "TPOT": float(tpot.mean()),
        "E2E": float((waited + decoded).mean()),
    }


def test_one_token_has_no_tpot() -> None:
    found = means(np.array([1.0, 3.0]), np.array([0.0, 6.0]), np.array([1, 4]))
    assert found == {"TTFT": 2.0, "TPOT": 2.0, "E2E": 5.0}


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
