"""Kavier: one request at a time on an A10, engine not stated."""

from __future__ import annotations

from pathlib import Path

from servetwin.studies.fidelity.points import MeasuredSet, Point, at_once, deploy, one
from servetwin.studies.fidelity.sets import rows_of

__all__ = ["load"]

MODEL, GPU = "meta-llama/Meta-Llama-3-8B", "A10"
PROMPT = 7
"""Input tokens of the decode runs."""


def load(folder: Path) -> MeasuredSet:
    """Prefill and decode of every length; decode under both readings of its token counts."""
    found = MeasuredSet("kavier-a10", [], said=SAID)
    rows = list(rows_of(folder / "prefill_decode_accuracy.csv"))
    counts = {
        row["session_id"]: int(row["num_output_tokens"])
        for row in rows_of(folder / "input_decode_accuracy.csv")
        if row["num_output_tokens"]
    }
    for row in rows:
        length = int(row["prompt_size"])
        found.points.append(_point("prefill", length, 1, {"ttft": float(row["reality_prefill"])}))
        seconds = float(row["reality_decode"])
        readings = {"as labelled": length, "as counted": counts[row["prompt_size"]]}
        for reading, tokens in readings.items():
            each = {"tpot": seconds / tokens}
            found.points.append(_point(f"decode, tokens {reading}", PROMPT, tokens, each))
    return found


SAID = (
    "engine and dtype are not stated: vLLM's defaults and 16 bits",
    "how many tokens the decode runs made is uncertain: TPOT is their time over the tokens of "
    "either reading",
)


def _point(phase: str, prompt: int, output: int, measured: dict[str, float]) -> Point:
    return Point(
        group=f"Kavier, A10, {phase}",
        label=f"{MODEL}, {prompt} + {output} tokens",
        deployment=deploy(MODEL, GPU, max_model_len=max(8192, prompt + output), max_num_seqs=8),
        workload=at_once(1, prompt, output),
        measured=one(**measured),
        tags={"gpu": GPU, "model": MODEL, "engine": "not stated"},
    )
