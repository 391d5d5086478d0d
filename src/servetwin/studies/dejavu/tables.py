"""Tables and notes on a terminal, 80 columns wide where there is none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

__all__ = ["Column", "show_notes", "show_table"]


class Column(NamedTuple):
    """A key of the rows, its format ("" for text), and its head if that is another word."""

    key: str
    format: str
    head: str = ""


def show_table(title: str, rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> None:
    """Print rows under their keys; None is shown as a dash."""
    from rich.console import Console
    from rich.table import Table

    grid = Table(box=None, padding=(0, 1), pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        grid.add_column(
            column.head or column.key, justify="left" if number == 0 else "right", overflow="fold"
        )
    for row in rows:
        grid.add_row(*(_cell(row[column.key], column.format) for column in columns))
    console = Console(highlight=False)
    console.print(f"\n{title}", style="bold", markup=False)
    console.print(grid)


def show_notes(notes: Iterable[str]) -> None:
    """Print each note once, wrapped between words."""
    from rich.console import Console

    console = Console(highlight=False)
    console.print()
    for note in dict.fromkeys(notes):
        console.print(f"note: {note}", markup=False)


def _cell(value: Any, specification: str) -> str:
    if value is None:
        return "-"
    return format(value, specification) if specification else str(value)
