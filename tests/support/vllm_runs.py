"""The measured runs of vLLM 0.19: what was deployed, what arrived, and what was stamped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from servetwin.catalog import find_accelerator, find_link, find_model
from servetwin.cost import resolve_settings
from servetwin.types import Deployment, Link, Parallelism, RequestTable, Workload
from servetwin.units import PS_PER_S, ps_from_seconds
from servetwin.workload import read

Floats = NDArray[np.float64]
GPUS = ("RTX4090", "RTXPRO6000")
LLAMA = "workloads_sharegpt-llama-3.1-8b-300-sps10.jsonl"
QWEN = "workloads_sharegpt-qwen3-32b-300-sps10.jsonl"


@dataclass(frozen=True)
class Stamps:
    """By request, in seconds of the engine's clock: what a run measured, or a simulation found."""

    queued: Floats
    scheduled: Floats
    first: Floats
    last: Floats
    gaps: Floats
    """Output tokens after the first."""

    @property
    def metrics(self) -> Mapping[str, Floats]:
        """TTFT and E2E count from the queue, since the engine's clock knows no arrival."""
        return {
            "TTFT": self.first - self.queued,
            "TPOT": (self.last - self.first) / np.maximum(self.gaps, 1.0),
            "E2E": self.last - self.queued,
            "queue": self.scheduled - self.queued,
            "prefill": self.first - self.scheduled,
        }


def measured(folder: Path, gpu: str) -> Stamps:
    lines = (folder / f"{gpu}_Llama-3.1-8B_vllm_requests.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    names = ("queued_ts", "scheduled_ts", "first_token_ts", "last_token_ts", "output_toks")
    queued, scheduled, first, last, tokens = (
        np.array([row[name] for row in rows], float) for name in names
    )
    start = queued.min()
    return Stamps(queued - start, scheduled - start, first - start, last - start, tokens - 1)


def simulated(requests: RequestTable) -> Stamps:
    times = (requests.arrival, requests.first_scheduled, requests.first_token, requests.finish)
    seconds = (np.asarray(column, float) / PS_PER_S for column in times)
    return Stamps(*seconds, requests.output_tokens.astype(float) - 1)


def deployed(folder: Path, gpu: str) -> Deployment:
    """The deployment as the engine's record states it."""
    meta = json.loads((folder / f"{gpu}_Llama-3.1-8B_vllm_meta.json").read_text())
    wanted = ("max_num_seqs", "max_num_batched_tokens", "max_model_len")
    chosen = {name: meta["engine_kwargs"].get(name) for name in wanted}
    model, accelerator = find_model("Llama-3.1-8B"), find_accelerator(gpu)
    return Deployment(
        model,
        accelerator,
        find_link(accelerator.link),
        settings=resolve_settings(model, accelerator, **chosen),
    )


def arrived(folder: Path, stamps: Stamps) -> Workload:
    """The requests, each when the engine queued it."""
    return replace(read(folder / LLAMA), arrival=ps_from_seconds(stamps.queued))


def described(folder: Path, name: str) -> Deployment:
    """A deployment of a `*_config.json`: link and parallelism as stated, limits of the runs."""
    config = json.loads((folder / f"{name}_config.json").read_text())
    instances = config["nodes"][0]["instances"]
    first = instances[0]
    layout = Parallelism(
        tp=first["tp_size"],
        ep=first.get("ep_size", 1),
        dp=len(instances) if "dp_group" in first else 1,
    )
    model, accelerator = find_model(first["model_name"]), find_accelerator(first["hardware"])
    link = Link("as described", config["link_bw"] * 1e9, config["link_latency"] * 1e-9)
    limits = {"max_num_seqs": 128, "max_num_batched_tokens": 2048, "max_model_len": 32768}
    settings = resolve_settings(model, accelerator, dp=layout.dp, **limits)
    return Deployment(model, accelerator, link, layout, settings)
