"""The runs with two pools: their table in docs/background/fidelity.md is what the board finds."""

from __future__ import annotations

from pathlib import Path

import pytest

from servetwin.studies.fidelity.board import build
from servetwin.studies.fidelity.printing import markdown
from servetwin.studies.fidelity.scores import Score

PAGE = Path(__file__).resolve().parents[2] / "docs" / "background" / "fidelity.md"
HEADS = {"ttft": "TTFT", "tpot": "TPOT", "throughput": "tokens/s"}


def documented(row: Score) -> str:
    errors = [f"{error * 100:.0f} %" for error in (row.mean, row.median, row.p90)]
    cells = [HEADS[row.metric], str(row.points), *errors, f"{row.bias * 100:+.0f} %"]
    met = "met" if row.median <= row.goal else "unmet"
    return f"| {' | '.join(cells)} | {row.goal * 100:.0f} %, {met} |"


@pytest.mark.slow
def test_tables_are_as_documented(data_dir: Path) -> None:
    board = build(data_dir, ("inferencex-pools", "vllm-series-pools"))
    page = PAGE.read_text("utf-8")
    for line in markdown(board.scores).splitlines()[2:]:
        assert line in page
    shown = [
        row
        for row in board.scores
        if row.group.endswith("pools, all") or row.metric == "throughput"
    ]
    assert len(shown) == 3
    for row in shown:
        assert documented(row) in page
