"""Splitwise: whole batches on A100, an engine of 2023."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from statistics import fmean

from servetwin.cost.energy.measured import FIT_TP, SPLITWISE_MODELS
from servetwin.studies.fidelity.points import MeasuredSet, Point, at_once, deploy, one
from servetwin.studies.fidelity.sets import rows_of
from servetwin.types import Parallelism

__all__ = ["load"]

GPUS = {"a100-80gb": "A100-80GB", "h100-80gb": "H100-SXM"}
KEY = ("hardware", "model", "tensor_parallel", "prompt_size", "batch_size", "token_size")
Row = dict[str, str]


def load(folder: Path) -> MeasuredSet:
    """One point for each combination of sizes: the mean of its five repetitions."""
    found = MeasuredSet("splitwise", [], said=SAID)
    repeated: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows_of(folder / "perf_model.csv"):
        if row["hardware"] not in GPUS:
            found.left_out[f"{row['hardware']} is not in the catalog"] += 1
        else:
            repeated[tuple(row[name] for name in KEY)].append(row)
    for rows in repeated.values():
        point = _point(rows)
        if point is None:
            found.left_out["whole time contradicts the time of a token"] += len(rows)
        else:
            found.points.append(point)
    return found


SAID = (
    "prompts of a batch are computed together, as engines of 2023 did: the token budget is "
    "theirs; planning does not overlap execution; dtype is not stated: 16 bits",
    "the published file holds A100 rows only",
)


def _point(rows: list[Row]) -> Point | None:
    gpu, model, tp, prompt, batch, output = (rows[0][name] for name in KEY)
    catalog = SPLITWISE_MODELS[model]
    tokens, size = int(prompt), int(batch)
    deployment = deploy(
        catalog,
        GPUS[gpu],
        Parallelism(tp=int(tp)),
        async_scheduling=False,
        max_num_batched_tokens=max(2048, tokens * size),
        max_num_seqs=max(64, size),
        max_model_len=tokens + int(output),
    )

    def mean(name: str) -> float:
        return fmean(float(row[name]) for row in rows)

    watts = mean("average_power") * (deployment.accelerator.max_watts or 0.0)
    seconds = mean("e2e_time") / 1e3
    if seconds < mean("token_time") / 1e3 * (int(output) - 1) / 2:
        return None  # it states less than half the time of its own tokens
    joules = watts * int(tp) * seconds / (size * int(output)) if watts > 0 else None
    fitted = model == "llama2-70b" and tp in FIT_TP and tokens < 8192
    return Point(
        group=f"Splitwise, {GPUS[gpu].split('-')[0]}",
        label=f"{catalog}, {tp} x {GPUS[gpu]}, {batch} x {prompt} + {output} tokens",
        deployment=deployment,
        workload=at_once(size, tokens, int(output)),
        measured=one(
            ttft=mean("prompt_time") / 1e3,
            tpot=mean("token_time") / 1e3,
            e2e=seconds,
            energy=joules,
        ),
        fitted=frozenset(["energy"] if fitted else []),
        tags={"gpu": GPUS[gpu], "model": catalog, "engine": "2023"},
    )
