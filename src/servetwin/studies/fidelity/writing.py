"""The board as files: two tables, JSON, a figure and a page."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from servetwin.studies.fidelity.board import Board, outliers
from servetwin.studies.fidelity.points import METRICS
from servetwin.studies.fidelity.printing import HEADS, cells
from servetwin.studies.fidelity.scores import Compared

__all__ = ["describe", "write_board", "write_csv"]

SCHEMA = "servetwin.fidelity/1"


def write_board(board: Board, out: Path) -> list[str]:
    """Write fidelity.csv, -points.csv, .png, .html and .json: all of them, or none."""
    from servetwin.report import figures
    from servetwin.report.fidelity_figures import predicted_against_measured
    from servetwin.results.output import Writer, write_together
    from servetwin.results.summary import to_json

    points = [_values(item) for item in board.compared]
    chart = predicted_against_measured(points)
    text = to_json(describe(board)) + "\n"
    page = page_of(board, points)
    writers: dict[str, Writer] = {
        "fidelity.csv": lambda path: write_csv([row.row() for row in board.scores], path),
        "fidelity-points.csv": lambda path: write_csv(points, path),
        "fidelity.png": lambda path: figures.save(chart, path),
        "fidelity.html": lambda path: path.write_text(page, encoding="utf-8"),
        "fidelity.json": lambda path: path.write_text(text, encoding="utf-8"),
    }
    write_together(out, writers, ())
    return list(writers)


def describe(board: Board) -> dict[str, Any]:
    """Return the content of fidelity.json."""
    from servetwin import __version__

    return {
        "schema": SCHEMA,
        "servetwin": __version__,
        "small": board.small,
        "scores": [row.row() for row in board.scores],
        "outliers": [_values(item) for item in outliers(board)],
        "left_out": {name: dict(reasons) for name, reasons in board.left_out.items()},
        "missing": board.missing,
        "said": board.said,
    }


def page_of(board: Board, points: Sequence[dict[str, Any]]) -> str:
    """Return fidelity.html: the table, the figure, and everything assumed."""
    from servetwin.report.fidelity_figures import predicted_against_measured
    from servetwin.report.page import NO_SCRIPT, drawn, framed, notes, section, specs_of, table

    specs = specs_of(
        {
            f"fidelity-{metric}": predicted_against_measured(points, metric)
            for metric in METRICS
            if any(point["metric"] == metric for point in points)
        }
    )
    rows = [(row.group, METRICS[row.metric], *cells(row)) for row in board.scores]
    left_out = [
        (name, f"{count:,}", reason)
        for name, reasons in board.left_out.items()
        for reason, count in sorted(reasons.items())
    ]
    body = (
        section("Errors by group", table(("group", "metric", *HEADS), rows)),
        NO_SCRIPT,
        drawn("Predicted against measured", specs),
        section("Not on the board", table(("set", "rows", "why"), left_out)),
        section(
            "Stated and assumed", notes(f"{k}: {v}" for k, vs in board.said.items() for v in vs)
        ),
    )
    return framed("servetwin fidelity: predicted against measured", body, specs)


def _values(item: Compared) -> dict[str, Any]:
    """Plain values of one point and metric; of many requests, their means."""
    measured, predicted = float(np.nanmean(item.measured)), float(np.nanmean(item.predicted))
    names = ("gpu", "model", "engine", "weights", "users")
    return {
        "set": item.source,
        "group": item.group,
        "metric": item.metric,
        "label": item.label,
        "values": int(item.measured.size),
        "measured": measured,
        "predicted": predicted,
        "error": predicted / measured - 1.0,
        "unseen_gpu": _off(item.unseen_gpu, measured),
        "unseen_model": _off(item.unseen_model, measured),
        "level": item.level,
        "fitted": item.fitted,
        **{name: item.tags.get(name, "") for name in names},
    }


def _off(predicted: NDArray[np.float64] | None, measured: float) -> float | None:
    return None if predicted is None else float(np.nanmean(predicted)) / measured - 1.0


def write_csv(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Write rows of equal keys under a head of their names."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
