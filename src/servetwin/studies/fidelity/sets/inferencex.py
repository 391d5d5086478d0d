"""InferenceX and vendor runs: closed loops against vLLM, TensorRT-LLM and SGLang."""

from __future__ import annotations

import re
from pathlib import Path

from servetwin.catalog import find_model
from servetwin.studies.fidelity.points import (
    MeasuredSet,
    Point,
    between,
    closed_loop,
    deploy,
    one,
)
from servetwin.studies.fidelity.sets import rows_of
from servetwin.studies.fidelity.sets.inferencex_scripts import DEPARTURES, EngineStart, script_of
from servetwin.types import Parallelism

__all__ = [
    "ENGINES",
    "FORMATS",
    "GPUS",
    "REQUESTS",
    "SHORTEST",
    "Layout",
    "Row",
    "layout_of",
    "load",
    "measurement",
    "model_of",
]

GPUS = {"b200_sxm": "B200", "b300_sxm": "B300", "gb200": "GB200", "h100_sxm": "H100-SXM"}
MODELS = {
    "zhipuai/GLM-5": "zai-org/GLM-5",
    "meta-llama/Llama-3.1-8B-Instruct": "meta-llama/Llama-3.1-8B",
}
ENGINES = {"vllm": "vLLM", "trtllm": "TRT-LLM", "sglang": "SGLang"}
FORMATS = {"nvfp4": "fp4", "int4_wo": "int4", "fp8": "fp8", "fp8_block": "fp8", "": "bf16"}
ONE_MACHINE = 8
REQUESTS = 10
"""Requests for each user, as InferenceX's benchmark sends them."""
SHORTEST = 0.8
"""Lengths are drawn between this share of the stated ones and them, as there."""
FIT_GPU = "B200"
FIT_MODELS = {
    "vLLM": ("meta-llama/Llama-3.1-70B", "openai/gpt-oss-120b"),
    "SGLang": ("deepseek-ai/DeepSeek-R1",),
    "TRT-LLM": ("deepseek-ai/DeepSeek-R1", "openai/gpt-oss-120b"),
}
"""What `cost/data/serving.toml` was fitted to: runs of these models on that GPU, by engine.

Of SGLang and TensorRT-LLM only to TTFTs; but what delays a first token delays the others, too.
"""
Row = dict[str, str]
Layout = Parallelism | str
"""How an engine is spread, or why the row cannot say so."""

SAID = (
    "whether a TTFT is a mean or a median is not stated: a mean is assumed; lengths are drawn "
    "between 0.8 and 1 times the stated ones and each user sends ten requests, as InferenceX's "
    "public benchmark does; the same is assumed of the vendor's rows",
    "tokens an iteration, running requests, captured graphs, memory and format of the KV cache as "
    "InferenceX's public scripts for model and engine say, else 8,192 tokens, 95 % of the memory, "
    "and 8 bits beside weights of 8 bits or fewer; every engine is simulated with vLLM's scheduler",
    "not as the scripts at hand say, since users would have waited for minutes who measurably did "
    f"not: {'; '.join(DEPARTURES)}",
    "SGLang looks for new requests every 10 or 30 iterations where its script says so; they wait "
    "half of that on average",
    "TTFT is that of a client: HTTP server and tokeniser are in front of the engine",
    "sizes that multiply tp by ep (tp 64 on machines of 8 GPUs) are read as one group of GPUs",
)


def load(folder: Path) -> MeasuredSet:
    """Aggregated rows; a measurement that is listed twice counts once."""
    found = MeasuredSet("inferencex", [], said=SAID)
    seen: set[tuple[str, ...]] = set()
    for row in rows_of(folder / "silicon_half.csv"):
        layout = layout_of(row)
        key = measurement(row)
        if row["mode"] != "agg":
            found.left_out["disaggregated: in the set inferencex-pools"] += 1
        elif key in seen:
            found.left_out["listed twice"] += 1
        elif isinstance(layout, str):
            found.left_out[layout] += 1
        else:
            seen.add(key)
            found.points.append(_point(row, layout))
    return found


def measurement(row: Row) -> tuple[str, ...]:
    """What two listings of one measurement agree on."""
    return tuple(row[name] for name in ("silicon_ttft_ms", "silicon_tpot_ms", "isl", "osl"))


def layout_of(row: Row) -> Layout:
    """Parallelism of a row.

    Vendor rows state tp, dp and ep as they are. InferenceX states one group of GPUs, its ep,
    and whether attention is data-parallel; in the table tp, dp or ep is then their product.
    """
    tp, dp, slices, ep = (
        max(1, int(row[name] or 1))
        for name in ("tp_size", "attention_dp_size", "moe_tp_size", "moe_ep_size")
    )
    moe = find_model(model_of(row)).mixture is not None
    if "gap-analysis" in row["silicon_data_source"]:
        return Parallelism(tp=tp, dp=dp if moe else 1, ep=ep if moe else 1)
    devices = tp if tp > 1 else dp
    if slices == ep > 1:
        devices = slices
    if devices > ONE_MACHINE:
        return "more GPUs in one engine than a machine has: taken for pools"
    ranks = devices if dp > 1 else 1
    return Parallelism(tp=devices // ranks, dp=ranks, ep=min(ep, devices) if moe else 1)


def model_of(row: Row) -> str:
    """The row's model as the catalog has it."""
    return MODELS.get(row["model_path"], row["model_path"])


def _point(row: Row, layout: Parallelism) -> Point:
    model, gpu, engine = model_of(row), GPUS[row["system"]], ENGINES[row["backend"]]
    weights = FORMATS[row["moe_quant_mode"] or row["gemm_quant_mode"]]
    inputs, outputs = int(row["isl"]), int(row["osl"])
    named = re.search(r"silicon_concurrency=(\d+)", row["silicon_data_source"])
    ranks = max(1, int(row["attention_dp_size"] or 1))
    users = int(named[1]) if named else int(row["batch_size"]) * ranks
    per_rank = -(-users // layout.dp)
    script = script_of(EngineStart(engine, model, gpu, weights, layout.tp, users))
    eight_bits = weights != "bf16" and script.eight_bit_kv
    deployment = deploy(
        model,
        gpu,
        layout,
        quantization=weights,
        kv_cache_dtype="fp8" if eight_bits else "auto",
        max_num_batched_tokens=script.max_num_batched_tokens,
        max_num_seqs=min(script.max_num_seqs, max(256, per_rank)),
        max_cudagraph_capture_size=script.max_cudagraph_capture_size,
        max_model_len=inputs + outputs + 64,
        gpu_memory_utilization=script.gpu_memory_utilization,
    )
    return Point(
        group=f"InferenceX, {row['system'].split('_')[0].upper()}, {engine}",
        label=f"{row['id']}: {model} {weights}, {inputs} + {outputs} tokens, {users} users",
        deployment=deployment,
        workload=closed_loop(
            users, REQUESTS * users, between(SHORTEST, inputs), between(SHORTEST, outputs)
        ),
        measured=one(
            ttft=float(row["silicon_ttft_ms"]) / 1e3, tpot=float(row["silicon_tpot_ms"]) / 1e3
        ),
        host=engine,
        behind_frontend=True,
        polled=script.polled,
        fitted=_fitted(model, gpu, engine),
        tags={
            "gpu": gpu,
            "model": model,
            "engine": engine,
            "weights": weights,
            "users": str(users),
            "devices": str(layout.devices),
            "source": "vendor" if "gap-analysis" in row["silicon_data_source"] else "InferenceX",
        },
    )


def _fitted(model: str, gpu: str, engine: str) -> frozenset[str]:
    """Metrics of such a run that something may be fitted to."""
    if gpu != FIT_GPU or model not in FIT_MODELS[engine]:
        return frozenset()
    return frozenset(["ttft", "tpot"])
