"""ML.ENERGY: vLLM with a steady batch on H100 and B200, time and energy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from servetwin.cost.energy.measured import (
    ASSUMED_INPUT,
    FIT_MODELS,
    MLENERGY_GPUS,
    MLENERGY_MODELS,
)
from servetwin.studies.fidelity.points import (
    MeasuredSet,
    Point,
    between,
    closed_loop,
    deploy,
    one,
)
from servetwin.types import Parallelism
from servetwin.workload.lengths import Fixed

__all__ = ["load"]

Row = dict[str, Any]


def load(folder: Path) -> MeasuredSet:
    """One point for each configuration whose task has an assumed input length."""
    found = MeasuredSet("mlenergy", [], said=SAID)
    for path in sorted(folder.glob("*__*.json")):
        run = json.loads(path.read_text(encoding="utf-8"))
        for row in run["configurations"]:
            if run["task"] in ASSUMED_INPUT:
                found.points.append(_point(run["model_id"], run["task"], row))
            else:
                found.left_out[f"no input length is assumed for {run['task']}"] += 1
    return found


SAID = (
    "input lengths are not published: 500 tokens; TPOT is the median gap between tokens",
    "the measured mean batch is taken as the number of users, and output lengths as uniform "
    "between 0.5 and 1.5 times their mean",
    "power coefficients were fitted on three of the models: their J/token counts as fitted",
)


def _point(model: str, task: str, row: Row) -> Point:
    gpus, gpu = row["num_gpus"], MLENERGY_GPUS[row["gpu_model"]]
    name = MLENERGY_MODELS.get(model, model)
    users = max(1, round(row["avg_batch_size"]))
    output = max(2, round(row["avg_output_len"]))
    inputs = Fixed(ASSUMED_INPUT[task])
    parallel = Parallelism(tp=gpus, ep=row["parallelization"]["expert_parallel"])
    return Point(
        group=f"ML.ENERGY, {row['gpu_model']}",
        label=f"{model}, {gpus} x {gpu}, {row['max_num_seqs']} sequences, {task}",
        deployment=deploy(name, gpu, parallel, max_num_seqs=max(users, row["max_num_seqs"])),
        workload=closed_loop(users, 4 * users, inputs, between(0.5, output, 1.5)),
        measured=one(
            tpot=row["median_itl_ms"] / 1e3,
            throughput=row["output_throughput_tokens_per_sec"],
            energy=row["energy_per_token_joules"],
        ),
        statistics={"tpot": "gap", "throughput": "output"},
        fitted=frozenset(["energy"] if model in FIT_MODELS else []),
        tags={"gpu": gpu, "model": name, "engine": "vLLM"},
    )
