"""The splits that docs/guides/pools.md lists are those that the study finds."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from servetwin.cli.build_workload import build_workload
from servetwin.cli.pool_split import app
from servetwin.cli.settings import RunSettings

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
TEXT = " ".join(PAGE.read_text("utf-8").split())
QUICK = ("Azure code", "8B", "2 s, 50 ms")


def documented() -> list[list[str]]:
    text = PAGE.read_text("utf-8").split("<!-- splits -->")[1].split("<!-- end -->")[0]
    rows = [line.strip("| ").split(" | ") for line in text.strip().splitlines()]
    return rows[2:]


@cache
def found(data: Path, trace: str, model: str, limits: str, *more: str) -> dict[str, Any]:
    path, *rest = TRACES[trace]
    ttft, tpot = (limit.replace(" ", "") for limit in limits.split(", "))
    args = [*MODELS[model], "--trace", str(data / "traces" / path), *rest, *more]
    done = CliRunner().invoke(app, [*args, "--slo", f"ttft={ttft},tpot={tpot}", "--json"])
    assert done.exit_code == 0, done.output
    content: dict[str, Any] = json.loads(done.stdout)
    return content


def as_documented(content: dict[str, Any]) -> list[str]:
    rows = {row["layout"]: row for row in content["layouts"]}
    untuned = next(row for name, row in rows.items() if name.endswith(" aggregated"))
    whole, split = rows[content["best_aggregated"]], rows[content["best_split"]]
    return [
        shown(untuned["goodput_rps"]),
        f"{whole['max_num_batched_tokens']:,}",
        shown(whole["goodput_rps"]),
        f"{split['prefill_engines']} + {split['decode_engines']}",
        f"{split['max_num_batched_tokens']:,}",
        shown(split["goodput_rps"]),
        f"{split['goodput_rps'] / whole['goodput_rps']:.2f}",
    ]


def shown(goodput: float) -> str:
    return f"{goodput:#.3g}" if goodput else "-"


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


@pytest.mark.parametrize(
    ("trace", "words"),
    [
        ("Azure conv", "conversations ({0:,.0f} tokens in, {1:.0f} out)"),
        ("Azure code", "code ({0:,.0f} in, {1:.0f} out)"),
        ("Mooncake", "prompts have {0:,.0f} tokens and its answers {1:.0f}"),
    ],
)
def test_the_lengths_are_as_documented(trace: str, words: str, data_dir: Path) -> None:
    path, *_ = TRACES[trace]
    count = {"Azure conv": 19366, "Azure code": 8819, "Mooncake": 3000}[trace]
    settings = RunSettings.model_validate(
        {"trace": str(data_dir / "traces" / path), "requests": count}
    )
    workload = build_workload(settings)
    assert len(workload) == count
    assert f"{count:,}" in TEXT
    means = workload.input_tokens.mean(), workload.output_tokens.mean()
    assert words.format(*means) in TEXT, means


@pytest.mark.slow
def test_the_wrong_split_and_a_slow_link_are_as_documented(data_dir: Path) -> None:
    case = ("Azure conv", "70B", "1 s, 50 ms")
    link = ("--kv-link", "Ethernet-10G", "--max-num-batched-tokens", "8192")
    slow = found(data_dir, *case, *link)
    slower = found(data_dir, *case, *link, "--kv-transfer", "after")
    fast = found(data_dir, *case)
    best = {id(c): max(split_goodputs(c)) for c in (fast, slow, slower)}
    assert (
        f"carries {best[id(slow)]:.1f} requests/s instead of {best[id(fast)]:.1f}, limited by "
        f"*KV transfer*, and with `--kv-transfer after` {best[id(slower)]:.1f}"
    ) in TEXT
    split = next(row for row in slow["layouts"] if row["layout"] == slow["best_split"])
    assert split["limited_by"] == "TPOT: KV transfer"
    one = max(split_goodputs(fast, prefill=1))
    assert f"one prefill engine of eight carries 1/{best[id(fast)] / one:.0f} of the best" in TEXT


@pytest.mark.slow
def test_the_edge_is_as_documented(data_dir: Path) -> None:
    content = found(data_dir, *documented()[2][:3])
    rows = [row for row in content["layouts"] if row["kind"] == "aggregated"]
    best = next(row for row in rows if row["layout"] == content["best_aggregated"])
    at = best["max_num_batched_tokens"]
    after = min(
        (row for row in rows if row["max_num_batched_tokens"] > at),
        key=lambda row: row["max_num_batched_tokens"],
    )
    assert (
        f"of the third row they carry {shown(best['goodput_rps'])} requests/s with {at} tokens "
        f"and {shown(after['goodput_rps'])} with {after['max_num_batched_tokens']}"
    ) in TEXT


def split_goodputs(content: dict[str, Any], prefill: int | None = None) -> list[float]:
    return [
        row["goodput_rps"]
        for row in content["layouts"]
        if row["kind"] == "pools" and prefill in (None, row["prefill_engines"])
    ]


def goodputs(cells: list[str]) -> tuple[float, float, float]:
    """Of aggregated engines without and with tuning, and of the best split."""
    untuned, tuned, split = (cells[at].replace("-", "0") for at in (3, 5, 8))
    return float(untuned), float(tuned), float(split)


def rows_of(trace: str, tpot: str) -> list[list[str]]:
    return [row for row in documented() if row[0].startswith(trace) and row[2].endswith(tpot)]


def span(values: list[float]) -> str:
    return f"{min(values):,.0f} to {max(values):,.0f}"


def test_who_wins_is_as_the_table_has_it() -> None:
    split = [100 * (s / tuned - 1) for _, tuned, s in map(goodputs, rows_of("Azure", " 50 ms"))]
    azure = [100 * (tuned / s - 1) for _, tuned, s in map(goodputs, rows_of("Azure", "100 ms"))]
    mooncake = [100 * (tuned / s - 1) for _, tuned, s in map(goodputs, rows_of("Mooncake", "ms"))]
    assert min(*split, *azure, *mooncake) > 0
    assert f"on Azure's traces with 50 ms for a token, by {span(split)} %" in TEXT
    assert f"they carry {span(azure)} % more on Azure's traces" in TEXT
    assert f"on Mooncake's, at either limit, {span(mooncake)} % more" in TEXT
    every = [goodputs(row) for row in documented()]
    before = sum(s > untuned for untuned, _, s in every)
    after = sum(s > tuned for _, tuned, s in every)
    assert f"beats aggregated engines in {before} of these 12 cases, with it in {after}." in TEXT


def test_budgets_are_as_the_table_has_them() -> None:
    def tokens(trace: str, at: int) -> str:
        return span([float(row[at].replace(",", "")) for row in rows_of(trace, " 50 ms")])

    assert f"need chunks of {tokens('Azure conv', 4)} tokens" in TEXT
    assert f"prefill engines take {tokens('Azure conv', 7)} at once" in TEXT
    assert f"with {tokens('Mooncake', 4)} tokens an iteration a token stays" in TEXT
    assert [goodputs(row)[0] for row in rows_of("Mooncake", " 50 ms")] == [0, 0]
    code = [
        100 * untuned / tuned
        for untuned, tuned, _ in map(goodputs, rows_of("Azure code", " 50 ms"))
    ]
    assert f"aggregated engines carry {span(code)} % of what they can" in TEXT


def test_every_case_is_there() -> None:
    assert len({tuple(row[:3]) for row in documented()}) == 12
    assert list(QUICK) in [row[:3] for row in documented()]
