"""Counting on a terminal while a study writes fragments."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["counting"]

BAR_WIDTH = 16
"""Columns, so that the line fits into 80 with counts of billions."""


@contextmanager
def counting(
    what: str, noun: str, total: int | None = None
) -> Iterator[Callable[[int], None] | None]:
    """Count on stderr, with a bar where the total is known; yields None where it is no terminal.

    The function it yields is told how many are done.
    """
    if sys.stderr is None or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeElapsedColumn

    label = TextColumn("{task.description}:")
    done = TextColumn("{task.completed:,.0f} " + noun)
    columns: list[ProgressColumn] = [label, done]
    if total is not None:
        of_all = TextColumn("{task.completed:,.0f} of {task.total:,.0f} " + noun)
        columns = [label, BarColumn(BAR_WIDTH), of_all]
    console = Console(stderr=True, highlight=False)
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda number: bar.update(task, completed=number)
