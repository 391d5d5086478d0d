"""Published measurements of power and energy, each with the work that was done meanwhile.

Readers of the folders `mlenergy_v3`, `splitwise`, `argonne` and `vllm_throughput_power` of
measured data. Used to fit and to score the power models; no prediction depends on it.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from servetwin.catalog import find_accelerator, find_link, find_model
from servetwin.cost.defaults import resolve_settings
from servetwin.cost.derive import derive
from servetwin.cost.energy.utilization import Work
from servetwin.types import CostModel, Deployment, Parallelism

__all__ = ["ASSUMED_INPUT", "Batch", "Point", "argonne", "mlenergy", "read_points", "splitwise"]

Floats = NDArray[np.float64]

ASSUMED_INPUT = {"lm-arena-chat": 500, "gpqa": 500}
"""Input tokens of the ML.ENERGY requests by task, which the data set does not state."""

FIT_MODELS = ("Qwen/Qwen3-8B", "Qwen/Qwen3-14B", "Qwen/Qwen3-30B-A3B-Instruct-2507")
"""Of ML.ENERGY: these models fit, the others score."""

FIT_TP = ("2", "8")
"""Of Splitwise's Llama-2-70B: these degrees fit; tp 4 and BLOOM score. Argonne only scores."""


@dataclass(frozen=True)
class Batch:
    """A steady batch, for predictions end to end. Lengths in tokens."""

    size: float
    input_tokens: float
    output_tokens: float
    mean_position: float
    """Output tokens that a running request has behind it, mean over time."""


@dataclass(frozen=True)
class Point:
    """One measurement: mean watts of one device over the intervals of `work`."""

    group: str
    label: str
    fit: bool
    """Whether coefficients may be fitted to it; the others are held out."""
    deployment: Deployment
    cost: CostModel
    work: Work
    watts: float
    batch: Batch | None = None
    joules_per_token: float | None = None
    """Of all devices, for each output token."""
    whole_run: bool = False
    """Whether `work` is a batch from its first prompt to its last token, not a steady state."""


def read_points(measured: Path) -> list[Point]:
    """Every point of the three tables of averages under the folder `measured`."""
    return [*mlenergy(measured), *splitwise(measured), *argonne(measured)]


@cache
def engine(
    model: str, gpu: str, parallel: Parallelism, blocking: bool = False
) -> tuple[Deployment, CostModel]:
    """A deployment with default settings, and its derived cost."""
    found, accelerator = find_model(model), find_accelerator(gpu)
    overrides: dict[str, Any] = {"async_scheduling": False} if blocking else {}
    settings = resolve_settings(found, accelerator, **overrides)
    link = find_link(accelerator.link)
    deployment = Deployment(found, accelerator, link, parallel, settings)
    return deployment, derive(deployment, 1000)


def phases(*rows: tuple[float, float, float, float, float, float, float]) -> Work:
    """Work of several phases, each in the order of the fields of `Work`."""
    return Work(*(np.array(column, dtype=np.float64) for column in zip(*rows, strict=True)))


# ------------------------------------------------------------------ ML.ENERGY

MLENERGY_MODELS = {
    "meta-llama/Llama-3.1-8B-Instruct": "meta-llama/Llama-3.1-8B",
    "google/gemma-3-12b-it": "google/gemma-3-12b-pt",
}
MLENERGY_GPUS = {"H100": "H100-SXM", "B200": "B200"}


def mlenergy(measured: Path, assumed: Mapping[str, int] = ASSUMED_INPUT) -> Iterator[Point]:
    """vLLM on H100 and B200: mean power of a run with a steady batch.

    `assumed` is the input length of each task, in tokens.
    """
    for path in sorted((measured / "mlenergy_v3").glob("*.json")):
        run = json.loads(path.read_text(encoding="utf-8"))
        rows = sorted(
            run["configurations"], key=lambda row: (row["gpu_model"], row["max_num_seqs"])
        )
        for row in rows:
            yield _mlenergy_point(run["model_id"], assumed[run["task"]], row)


def _mlenergy_point(model: str, prompt: int, row: dict[str, Any]) -> Point:
    gpus = row["num_gpus"]
    # Attention is cut over the devices; with expert parallelism the experts stay whole.
    parallel = Parallelism(tp=gpus, ep=row["parallelization"]["expert_parallel"])
    name = MLENERGY_MODELS.get(model, model)
    deployment, cost = engine(name, MLENERGY_GPUS[row["gpu_model"]], parallel)
    output = row["avg_output_len"]
    batch = Batch(row["avg_batch_size"], prompt, output, _mean_position(row))
    return Point(
        group=f"{row['gpu_model']} (ML.ENERGY)",
        label=f"{model}, {gpus} x {row['gpu_model']}, {row['max_num_seqs']} sequences",
        fit=model in FIT_MODELS,
        deployment=deployment,
        cost=cost,
        work=steady_work(batch, row["output_throughput_tokens_per_sec"]),
        watts=row["avg_power_watts"] / gpus,
        batch=batch,
        joules_per_token=row["energy_per_token_joules"],
    )


def _mean_position(row: dict[str, Any]) -> float:
    """E[L^2] / 2 E[L] over the published histogram of output lengths: long requests stay."""
    histogram = row["output_length_distribution"]
    edges, counts = np.array(histogram["bins"]), np.array(histogram["counts"], dtype=np.float64)
    middle = (edges[1:] + edges[:-1]) / 2
    return float((counts @ middle**2) / (2 * (counts @ middle)))


def steady_work(batch: Batch, tokens_per_second: float) -> Work:
    """One second of a steady batch that gives so many output tokens."""
    requests = tokens_per_second / batch.output_tokens
    iterations = tokens_per_second / batch.size
    context = batch.input_tokens + batch.mean_position
    prompt = batch.input_tokens
    return phases(
        (
            1.0,
            iterations,
            tokens_per_second,
            requests * prompt,
            tokens_per_second * context,
            requests * prompt * (prompt + 1) / 2,
            requests,
        )
    )


# ------------------------------------------------------------------ Splitwise

SPLITWISE_MODELS = {"llama2-70b": "meta-llama/Llama-2-70b-hf", "bloom-176b": "bigscience/bloom"}


def splitwise(measured: Path) -> Iterator[Point]:
    """A100 runs of 2023: one batch of prompts, then 127 iterations of decoding.

    Five repetitions state the same power; rows that state none are left out.
    """
    rows: dict[tuple[str, ...], list[dict[str, str]]] = defaultdict(list)
    with (measured / "splitwise/perf_model.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if float(row["average_power"]) > 0 and row["token_size"] == "128":
                key = ("model", "tensor_parallel", "prompt_size", "batch_size")
                rows[tuple(row[name] for name in key)].append(row)
    for (model, tp, prompt, batch), same in rows.items():
        yield _splitwise_point(model, int(tp), int(prompt), int(batch), same)


def _splitwise_point(
    model: str, tp: int, prompt: int, batch: int, rows: list[dict[str, str]]
) -> Point:
    deployment, cost = engine(SPLITWISE_MODELS[model], "A100-80GB", Parallelism(tp=tp), True)

    def mean(name: str) -> float:
        return float(np.mean([float(row[name]) for row in rows]))

    prompt_seconds, steps = mean("prompt_time") / 1e3, 127
    decode = batch * steps * (prompt + 1 + steps / 2)
    chunks = float(-(-batch * prompt // deployment.settings.max_num_batched_tokens))
    work = phases(
        (prompt_seconds, chunks, 0, batch * prompt, 0, batch * prompt * (prompt + 1) / 2, batch),
        (steps * mean("token_time") / 1e3, steps, batch * steps, 0, decode, 0, 0),
    )
    watts = mean("average_power") * (deployment.accelerator.max_watts or 0.0)
    return Point(
        group="A100 (Splitwise)",
        label=f"{model}, {tp} x A100, {batch} x {prompt} tokens",
        fit=model == "llama2-70b" and str(tp) in FIT_TP and prompt < 8192,
        deployment=deployment,
        cost=cost,
        work=work,
        watts=watts,
        batch=Batch(batch, prompt, 128, steps / 2),
        joules_per_token=watts * tp * work.seconds.sum() / (128 * batch),
        whole_run=True,
    )


# ------------------------------------------------------------------ Argonne

ARGONNE_GPUS = {
    "Nvidia A100 GPU": "A100-40GB",
    "Nvidia H100 GPU": "H100-SXM",
    "Nvidia GH200 GPU": "GH200",
}


def argonne(measured: Path) -> Iterator[Point]:
    """One device, 1,024 tokens in and out, whole batches; `avg_power` is in milliwatts."""
    with (measured / "argonne/power_results.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            gpu = ARGONNE_GPUS.get(row["Hardware"] or "")
            if gpu and row["avg_power"]:
                yield _argonne_point(gpu, row)


def _argonne_point(gpu: str, row: dict[str, str]) -> Point:
    deployment, cost = engine(row["Model"], gpu, Parallelism())
    length, batch = int(row["Input Output Length"]), int(row["Batch Size"])
    seconds = float(row["Latency"])
    # What does not fit waits for its turn, so that each iteration decodes fewer sequences.
    fitting = cost.memory.capacity_blocks * deployment.settings.block_size / (2 * length)
    waves = max(1.0, batch / fitting)
    prefill = batch * length
    chunks = -(-prefill // deployment.settings.max_num_batched_tokens)
    decode = batch * (length - 1)
    work = phases(
        (
            seconds,
            waves * (length - 1) + chunks,
            decode,
            prefill,
            decode * 1.5 * length,
            prefill * (length + 1) / 2,
            batch,
        )
    )
    watts = float(row["avg_power"]) / 1e3
    return Point(
        group=f"{gpu} (Argonne)",
        label=f"{row['Framework']}, {row['Model']}, {gpu}, {batch} sequences",
        fit=False,
        deployment=deployment,
        cost=cost,
        work=work,
        watts=watts,
        batch=Batch(batch / waves, length, length, length / 2),
        joules_per_token=watts * seconds / (batch * length),
        whole_run=True,
    )
