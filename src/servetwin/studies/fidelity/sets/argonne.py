"""LLM-Inference-Bench of Argonne: whole batches, inputs as long as outputs."""

from __future__ import annotations

from pathlib import Path

from servetwin.errors import InputError
from servetwin.studies.fidelity.points import MeasuredSet, Point, at_once, deploy, one
from servetwin.studies.fidelity.sets import rows_of
from servetwin.types import Deployment, Parallelism

__all__ = ["load"]

GPUS = {
    "Nvidia A100 GPU": "A100-40GB",
    "Nvidia H100 GPU": "H100-SXM",
    "Nvidia GH200 GPU": "GH200",
    "AMD MI250 GPU": "MI250",
    "AMD MI300X GPU": "MI300X",
    "Intel PVC GPU": "Max-1550",
    "Intel Max 1550": "Max-1550",
    "Habana Gaudi2": "Gaudi2",
}
VLLM, LLAMA = "vLLM", "llama.cpp"
ENGINES = {VLLM: VLLM, "TensorRT-LLM": "TRT-LLM", LLAMA: LLAMA}
Row = dict[str, str]


def load(folder: Path) -> MeasuredSet:
    """Time of whole batches, and time to first token where it was measured apart."""
    found = MeasuredSet("argonne", [], said=SAID)
    for row in rows_of(folder / "All_results.csv"):
        _add(found, row, {"throughput": row["Throughput"]})
    for row in rows_of(folder / "all_results_TTFT_ITL.csv"):
        if row["Hardware"] and row["end_latency"]:
            _add(found, row, {"ttft": row["TTFT Latency"], "end": row["end_latency"]})
    for row in rows_of(folder / "power_results.csv"):
        if row["Hardware"] and row["avg_power"] and row["Num of Hardware"] == "1":
            _add(found, row, {"milliwatts": row["avg_power"], "seconds": row["Latency"]})
    return found


SAID = (
    "tokens/s count inputs and outputs, over the time of the whole batch; TPOT is the whole "
    "time less that to the first token, over 1,023, of the batches of 16 that were timed twice",
    "engine versions and settings are not stated, the paper is of 2024: vLLM's planning did not "
    "overlap execution then, TensorRT-LLM's C++ loop is taken to hide it; a batch is sent at once, "
    "other limits are vLLM's; 16 bits",
    "llama.cpp: its figures are those of one sequence whatever the batch, and with batch 1 a "
    "prompt takes as long as an answer: batch is taken for the tokens of a prompt's chunk",
    "llama.cpp cuts models by layers, its default; A100 is taken for the 40 GB one, MI250 for a "
    "module of two dies",
)


def _add(found: MeasuredSet, row: Row, values: Row) -> None:
    """Add a row's point, or count why it cannot have one."""
    engine, gpu = ENGINES.get(row["Framework"]), GPUS.get(row["Hardware"])
    if engine is None or gpu is None:
        found.left_out[f"{row['Framework']} on {row['Hardware']} is not simulated"] += 1
        return
    try:
        found.points.append(_point(row, engine, gpu, values))
    except InputError as error:
        found.left_out[str(error)] += 1


def _point(row: Row, engine: str, gpu: str, values: Row) -> Point:
    size, devices = int(row["Batch Size"]), int(row["Num of Hardware"])
    length = int(row.get("Input Output Length") or row["Input Length"])
    numbers = {name: float(value) for name, value in values.items()}
    tpot = joules = None
    if "end" in numbers:
        tpot = (numbers["end"] - numbers["ttft"]) / (length - 1)
    if "milliwatts" in numbers:
        joules = numbers["milliwatts"] / 1e3 * numbers["seconds"] / (size * length)
    sequences = 1 if engine == LLAMA else size
    name = gpu if gpu.startswith("Max") else gpu.split("-")[0]
    return Point(
        group=f"Argonne, {name}, {engine}",
        label=f"{row['Model']}, {devices} x {gpu}, {engine}, {size} x {length} + {length} tokens",
        deployment=_deployment(row["Model"], gpu, engine, size, length, devices),
        workload=at_once(sequences, length, length),
        measured=one(
            ttft=numbers.get("ttft"),
            tpot=tpot,
            throughput=numbers.get("throughput"),
            energy=joules,
        ),
        statistics={"throughput": "all"},
        # Of that age TensorRT-LLM ran in C++, as llama.cpp does.
        host=VLLM if engine == VLLM else "",
        tags={"gpu": gpu, "model": row["Model"], "engine": engine},
    )


def _deployment(
    model: str, gpu: str, engine: str, size: int, length: int, devices: int
) -> Deployment:
    limit = max(2 * length, 2048)
    if engine == LLAMA:
        layers = Parallelism(pp=devices)
        budget = {"max_num_batched_tokens": size, "max_num_seqs": 1}
        return deploy(model, gpu, layers, scheduler="slots", max_model_len=limit, **budget)
    ahead = engine != VLLM
    return deploy(model, gpu, Parallelism(tp=devices), async_scheduling=ahead, max_model_len=limit)
