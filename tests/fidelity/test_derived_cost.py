"""Derived costs against measured serving runs that no coefficient was fitted to.

Each group prints its errors (`pytest -s`); the medians are those of the table in
docs/background/cost.md, and must stay so when the model changes.
"""

from __future__ import annotations

import csv
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest

from servetwin.catalog import find_accelerator, find_link, find_model
from servetwin.cost import derive, resolve_settings
from servetwin.types import Deployment, IterationCost, Parallelism

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "background" / "cost.md"
ASSUMED_INPUT = 500
"""Input tokens of the ML.ENERGY requests, which the data set does not state."""

Pairs = list[tuple[float, float]]


def cost_of(model: str, gpu: str, parallel: Parallelism, **engine: object) -> IterationCost:
    found, accelerator = find_model(model), find_accelerator(gpu)
    deployed = Deployment(
        found,
        accelerator,
        find_link(accelerator.link),
        parallel,
        resolve_settings(found, accelerator, **engine),
    )
    return derive(deployed, 1000).iteration


def entry(table: object, slope: int, index: int) -> int:
    last = len(table) - 1  # type: ignore[arg-type]
    return int(table[min(index, last)]) + slope * max(0, index - last)  # type: ignore[index]


def decode_ms(cost: IterationCost, batch: int, context: float) -> float:
    tokens = batch * context
    ps = cost.base + entry(cost.linear, cost.linear_slope, batch)
    ps += entry(cost.head, cost.head_slope, batch) + batch * cost.decode_seq
    ps += cost.decode_ctx * tokens + cost.decode_window_ctx * min(tokens, cost.window * batch)
    return ps * 1e-9


def prefill_ms(cost: IterationCost, prompt: int) -> float:
    ps = cost.base + entry(cost.linear, cost.linear_slope, prompt) + int(cost.head[1])
    return (ps + cost.prefill_chunk + (cost.prefill_attn * prompt**2 >> 10)) * 1e-9


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def kavier(folder: Path) -> Iterator[tuple[str, Pairs]]:
    """Llama-3-8B on an A10, one request; the engine is not stated."""
    cost = cost_of("meta-llama/Meta-Llama-3-8B", "A10", Parallelism(), max_model_len=8192)
    measured = rows_of(folder / "kavier_a10/prefill_decode_accuracy.csv")
    lengths = [int(row["prompt_size"]) for row in measured]
    counts = [
        int(row["num_output_tokens"])
        for row in rows_of(folder / "kavier_a10/input_decode_accuracy.csv")
        if row["num_output_tokens"] and int(row["session_id"]) in lengths
    ]
    prefill = [prefill_ms(cost, length) for length in lengths]
    yield (
        "A10, Llama-3-8B, prefill",
        [
            (ms, 1e3 * float(row["reality_prefill"]))
            for ms, row in zip(prefill, measured, strict=True)
        ],
    )
    for reading, tokens in (("as labelled", lengths), ("as counted", counts)):
        # The context grows evenly, so the mean token stands for all.
        predicted = [count * decode_ms(cost, 1, 7 + count / 2) for count in tokens]
        yield (
            f"A10, Llama-3-8B, decode, tokens {reading}",
            [
                (ms, 1e3 * float(row["reality_decode"]))
                for ms, row in zip(predicted, measured, strict=True)
            ],
        )


def splitwise(folder: Path) -> Iterator[tuple[str, Pairs]]:
    """A100 runs of 2023: prompts alone by length, decode by batch at 512 + 128 tokens."""
    groups: dict[tuple[str, int], dict[str, Pairs]] = defaultdict(lambda: defaultdict(list))
    names = {"llama2-70b": "meta-llama/Llama-2-70b-hf", "bloom-176b": "bigscience/bloom"}
    costs: dict[tuple[str, int], IterationCost] = {}
    for row in rows_of(folder / "splitwise/perf_model.csv"):
        if row["hardware"] != "a100-80gb" or row["token_size"] != "128":
            continue
        key = row["model"], int(row["tensor_parallel"])
        if key not in costs:
            parallel = Parallelism(tp=key[1])
            costs[key] = cost_of(names[key[0]], "A100-80GB", parallel, async_scheduling=False)
        prompt, batch = int(row["prompt_size"]), int(row["batch_size"])
        if batch == 1:
            predicted = prefill_ms(costs[key], prompt)
            groups[key]["prefill"].append((predicted, float(row["prompt_time"])))
        if prompt == 512:
            predicted = decode_ms(costs[key], batch, prompt + 64)
            groups[key]["decode"].append((predicted, float(row["token_time"])))
    for (model, tp), phases in sorted(groups.items()):
        for phase, pairs in sorted(phases.items()):
            yield f"A100, {model}, tp {tp}, {phase}", pairs


def mlenergy(folder: Path) -> Iterator[tuple[str, Pairs]]:
    """Median gap between tokens under vLLM, batches up to 64."""
    names = {
        "meta-llama/Llama-3.1-8B-Instruct": "meta-llama/Llama-3.1-8B",
        "google/gemma-3-12b-it": "google/gemma-3-12b-pt",
    }
    gpus = {"H100": "H100-SXM", "B200": "B200"}
    groups: dict[str, Pairs] = defaultdict(list)
    for path in sorted((folder / "mlenergy_v3").glob("*.json")):
        run = json.loads(path.read_text())
        for row in run["configurations"]:
            tp = row["parallelization"]["tensor_parallel"]
            batch = round(row["avg_batch_size"])
            if batch > 64 or tp != row["num_gpus"]:
                continue
            model = names.get(run["model_id"], run["model_id"])
            cost = cost_of(model, gpus[row["gpu_model"]], Parallelism(tp=tp))
            predicted = decode_ms(cost, batch, ASSUMED_INPUT + row["avg_output_len"] / 2)
            kind = "gpt-oss-20b" if "gpt-oss" in model else "six 16-bit models"
            pair = predicted, row["median_itl_ms"]
            groups[f"{row['gpu_model']}, {kind}, ITL"].append(pair)
    yield from sorted(groups.items())


def documented() -> dict[str, float]:
    """Signed median errors of the table of measured runs, by group."""
    text = DOCUMENT.read_text().split("<!-- measured runs -->")[1]
    rows = re.findall(r"^\| ([^|]+?) \| \d+ \| ([-+]\d+) % \|", text, re.MULTILINE)
    return {group: int(error) / 100 for group, error in rows}


def test_errors_are_as_documented(data_dir):
    folder = data_dir / "measured"
    known, seen = documented(), set()
    for source in (kavier, splitwise, mlenergy):
        for group, pairs in source(folder):
            errors = [predicted / measured - 1 for predicted, measured in pairs]
            print(
                f"| {group} | {len(pairs)} | {median(errors):+.0%} | "
                f"{min(errors):+.0%} to {max(errors):+.0%} |".replace("%", " %")
            )
            assert group in known, "not in docs/background/cost.md"
            assert median(errors) == pytest.approx(known[group], abs=0.015), group
            seen.add(group)
    assert seen == set(known)


@pytest.mark.parametrize("start", ["H100, six", "B200, six", "A10, Llama-3-8B, decode, tokens as l",
                                   "A100, llama2-70b, tp 2"])  # fmt: skip
def test_what_may_be_relied_on(start):
    """Engines of today, and runs that the device bounds: within 30 %."""
    errors = [error for group, error in documented().items() if group.startswith(start)]
    assert errors
    assert all(abs(error) < 0.3 for error in errors)
