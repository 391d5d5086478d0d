"""The small scoreboard: no group's error may grow by more than a tenth over the baseline."""

from __future__ import annotations

from pathlib import Path

import pytest

from servetwin.studies.fidelity import board as boards
from servetwin.studies.fidelity.baseline import grown, read_baseline
from servetwin.studies.fidelity.printing import print_board

BASELINE = Path(__file__).with_name("scoreboard.toml")


@pytest.fixture(scope="module")
def board(data_dir: Path) -> boards.Board:
    return boards.build(data_dir, small=True)


def test_no_error_has_grown(board: boards.Board) -> None:
    """The table is printed; `scoreboard.toml` says how to write the baseline again."""
    print_board(board)
    assert grown(board.scores, read_baseline(BASELINE)) == []


def test_all_sets_are_there(board: boards.Board) -> None:
    assert board.missing == []
    assert {item.source for item in board.compared} == set(boards.SETS)


def test_fitted_points_are_scored_apart(board: boards.Board) -> None:
    """Nothing is scored as held out on which something was fitted."""
    fitted = {(item.label, item.metric) for item in board.compared if item.fitted}
    held = {(item.label, item.metric) for item in board.compared if not item.fitted}
    assert fitted
    assert not fitted & held
    counted = sum(row.points for row in board.scores if row.fitted)
    assert counted == len(fitted)


def test_better_than_the_published_board(board: boards.Board) -> None:
    """28 % of TPOT is the mean absolute error of the best published board on such points."""
    [row] = [row for row in board.scores if row.group == "InferenceX, all" and row.metric == "tpot"]
    assert row.mean < 0.28
