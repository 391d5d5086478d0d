"""The board on a terminal of 80 columns."""

from __future__ import annotations

from typing import Any

from servetwin.studies.fidelity.board import Board, outliers
from servetwin.studies.fidelity.points import METRICS
from servetwin.studies.fidelity.scores import Compared, Score

__all__ = ["cells", "markdown", "print_board", "table_of"]

WIDTH = 80
GROUP_WIDTH = 22
SHOWN_OUTLIERS = 8
HEADS = ("n", "median", "P90", "bias", "unseen GPU", "unseen model", "")


def print_board(board: Board) -> None:
    """Print scores, outliers, what is left out and what is assumed."""
    from rich.console import Console

    console = Console(highlight=False)
    console.width = min(console.width, WIDTH)
    console.print(
        "Predicted against measured; derived costs unless named otherwise",
        style="bold",
        markup=False,
    )
    console.print(table_of(board.scores))
    met = sum(row.met for row in board.scores if not row.fitted)
    total = sum(not row.fitted for row in board.scores)
    lines = [
        f"{met} of {total} held-out rows meet their goal. Errors are those of single points; "
        "bias is the median signed one, P90 that of absolute ones; unseen GPU and model: the "
        "median where everything is fitted without that GPU, or without that model"
        + (", which the small board leaves out." if board.small else "."),
        *_outlier_lines(outliers(board)),
        *_left_out_lines(board),
        *(f"{name}: {line}" for name, lines in board.said.items() for line in lines),
    ]
    for line in lines:
        console.print(line, markup=False)


def table_of(scores: list[Score]) -> Any:
    """The scores as a rich table: one line a metric, groups named once."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="bold")
    table.add_column("group", overflow="fold", width=GROUP_WIDTH)
    table.add_column("metric", no_wrap=True)
    for head in HEADS:
        table.add_column(head.replace(" ", "\n"), justify="right" if head else "left", no_wrap=True)
    before = ""
    for row in scores:
        group = row.group if row.group != before else ""
        before = row.group
        style = "" if row.met or row.fitted else "yellow"
        table.add_row(group, METRICS[row.metric], *cells(row), style=style)
    return table


def cells(row: Score) -> list[str]:
    """What a row says after its group and metric."""
    verdict = "fitted" if row.fitted else "met" if row.met else "unmet"
    errors = [row.median, row.p90, row.bias, row.unseen_gpu, row.unseen_model]
    shown = [_percent(error, "+" if error is row.bias else "") for error in errors]
    return [str(row.points), *shown, verdict]


def markdown(scores: list[Score]) -> str:
    """The same table for a page of documentation."""
    lines = [
        "| group | metric | points | median | P90 | bias | unseen GPU | unseen model | goal |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in scores:
        count, *errors, verdict = (cell.replace("%", " %") for cell in cells(row))
        line = (row.group, METRICS[row.metric], count, *errors, verdict)
        lines.append(f"| {' | '.join(line)} |")
    return "\n".join(lines)


def _percent(error: float | None, sign: str) -> str:
    """`36%`, and `x32` in place of a percentage with four digits; `-` where it is not known."""
    if error is None:
        return "-"
    return f"x{1 + error:.0f}" if error >= 10 else f"{error:{sign}.0%}"


def _outlier_lines(found: list[Compared]) -> list[str]:
    if not found:
        return ["No single value is off by more than a factor of two."]
    lines = [f"{len(found):,} values are off by more than a factor of two, the worst:"]
    for item in found[:SHOWN_OUTLIERS]:
        ratio = float(item.predicted[0] / item.measured[0])
        lines.append(f"  {METRICS[item.metric]} x {ratio:.2g}  {item.label}")
    return lines


def _left_out_lines(board: Board) -> list[str]:
    lines = [
        f"{name}, not on the board: {count:,} rows: {reason}"
        for name, reasons in board.left_out.items()
        for reason, count in reasons.most_common()
    ]
    return lines + [f"{name}: its folder was not found" for name in board.missing]
