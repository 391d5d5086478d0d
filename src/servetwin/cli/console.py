"""Where the command line writes: results to stdout, everything else to stderr."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

__all__ = ["command_line", "progress", "stdout", "warn"]


def stdout() -> Console:
    """Console for results; 80 columns where stdout is no terminal."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=False)


def warn(message: str) -> None:
    """Say in one line what the user should know but need not act on."""
    print(f"servetwin: warning: {message}", file=sys.stderr)


def command_line() -> str:
    """What was typed, as a shell would read it again."""
    return shlex.join(["servetwin", *sys.argv[1:]])


@contextmanager
def progress(
    what: str, total: int
) -> Iterator[tuple[Callable[[int], None], Callable[[str], None]]]:
    """Show a bar on a terminal, nothing in a pipe.

    Yields a function to be told how many of `total` are done, and one to be told a message.
    """
    if not sys.stderr.isatty():
        yield (lambda _done: None), (lambda text: print(text, file=sys.stderr, flush=True))
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True, highlight=False)
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield (lambda done: bar.update(task, completed=done)), console.print
