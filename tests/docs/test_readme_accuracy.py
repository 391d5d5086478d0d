"""How accurate README says servetwin is, is what the pages with all of it say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
README = (REPOSITORY / "README.md").read_text("utf-8")
COST = (REPOSITORY / "docs" / "background" / "cost.md").read_text("utf-8")
FIDELITY = (REPOSITORY / "docs" / "background" / "fidelity.md").read_text("utf-8")


def board(group: str, metric: str) -> list[str]:
    """Points, median, P90, bias and the medians of unseen GPUs and models; none is fitted."""
    rows = re.findall(rf"^\| {re.escape(group)} \| {metric} \| (.+) \|$", FIDELITY, re.M)
    cells = [row.split(" | ") for row in rows]
    (found,) = [row for row in cells if row[-1] != "fitted"]
    return found


@pytest.mark.parametrize("gpu", ["RTX 4090", "RTX PRO 6000"])
def test_the_whole_runs(gpu: str) -> None:
    found = re.search(rf"^\| {gpu.replace(' ', '')} \| (.+) \|$", COST, re.M)
    assert found is not None
    errors = found[1].replace("-", "\N{MINUS SIGN}")
    row = f"| {gpu} | {errors} |"
    assert row in README, row


@pytest.mark.parametrize(
    ("label", "group"),
    [
        ("InferenceX, H100, vLLM", "InferenceX, H100, vLLM"),
        ("InferenceX, B200, vLLM, models not fitted on", "InferenceX, B200, vLLM"),
        ("InferenceX, all engines and GPUs, runs not fitted on", "InferenceX, all"),
        ("Splitwise, A100, an engine of 2023", "Splitwise, A100"),
    ],
)
def test_the_rows_of_the_scoreboard(label: str, group: str) -> None:
    ttft, tpot = board(group, "TTFT"), board(group, "TPOT")
    row = f"| {label} | {ttft[0]} | {ttft[1]} | {tpot[1]} | {ttft[4]}, {tpot[4]} |"
    assert row in README, row


def test_throughput_of_whole_batches() -> None:
    a100, h100, gh200 = (
        board(f"Argonne, {gpu}, vLLM", "tokens/s")[1] for gpu in ("A100", "H100", "GH200")
    )
    assert f"{a100} on A100, {h100} on H100, {gh200} on GH200" in " ".join(README.split())
