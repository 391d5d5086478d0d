"""The splits that docs/guides/pools.md lists are those that the study finds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from servetwin.cli.pool_split import app

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "pools.md"

TRACES = {
    "Azure conv": ("azure_llm_2023/AzureLLMInferenceTrace_conv.csv",),
    "Azure code": ("azure_llm_2023/AzureLLMInferenceTrace_code.csv",),
    "Mooncake": (
        "mooncake/conversation_trace.jsonl",
        *("--requests", "3000", "--router", "cache-aware"),
        *("--decode-router", "least-outstanding"),
    ),
}
MODELS = {
    "70B": ("--model", "meta-llama/Llama-3.1-70B", "--gpu", "H100-SXM", "--tp", "4"),
    "8B": ("--model", "meta-llama/Llama-3.1-8B", "--gpu", "A100-80GB"),
}
QUICK = ("Azure code", "8B", "2 s, 50 ms")


def documented() -> list[list[str]]:
    text = PAGE.read_text("utf-8").split("<!-- splits -->")[1].split("<!-- end -->")[0]
    rows = [line.strip("| ").split(" | ") for line in text.strip().splitlines()]
    return rows[2:]


def found(data: Path, trace: str, model: str, limits: str) -> dict[str, Any]:
    path, *rest = TRACES[trace]
    ttft, tpot = (limit.replace(" ", "") for limit in limits.split(", "))
    args = [*MODELS[model], "--trace", str(data / "traces" / path), *rest]
    done = CliRunner().invoke(app, [*args, "--slo", f"ttft={ttft},tpot={tpot}", "--json"])
    assert done.exit_code == 0, done.output
    content: dict[str, Any] = json.loads(done.stdout)
    return content


def as_documented(content: dict[str, Any]) -> list[str]:
    rows = {row["layout"]: row for row in content["layouts"]}
    whole, split = rows[content["best_aggregated"]], rows[content["best_split"]]
    own = {"H100-SXM": "8192", "A100-80GB": "2048"}[content["config"]["gpu"]]
    goodputs = [row["goodput_rps"] for row in (whole, split)]
    return [
        whole["layout"].partition("(")[2].rstrip(")") or own,
        f"{goodputs[0]:.3g}",
        f"{split['prefill_engines']} + {split['decode_engines']}",
        f"{goodputs[1]:.3g}",
        f"{goodputs[1] / goodputs[0]:.2f}",
    ]


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(row, id=", ".join(row[:3]), marks=() if tuple(row[:3]) == QUICK else slow)
        for slow in [pytest.mark.slow]
        for row in documented()
    ],
)
def test_a_split_is_as_documented(row: list[str], data_dir: Path) -> None:
    trace, model, limits, *expected = row
    assert as_documented(found(data_dir, trace, model, limits)) == expected


def test_every_case_is_there() -> None:
    assert len({tuple(row[:3]) for row in documented()}) == 12
    assert list(QUICK) in [row[:3] for row in documented()]
