"""Where the command line writes: results to stdout, everything else to stderr."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

__all__ = [
    "StdoutLostError",
    "command_line",
    "guarded_stdout",
    "progress",
    "stdout",
    "tell",
    "warn",
]


class StdoutLostError(Exception):
    """stdout cannot be written to: its reader has left, or the disk is full."""

    def __init__(self, reason: OSError) -> None:
        super().__init__(str(reason))
        self.reason = reason


class _Stdout:
    """stdout whose failures can be told from every other OSError."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return int(self._guarded(self._stream.write, text))

    def flush(self) -> None:
        self._guarded(self._stream.flush)

    def _guarded(self, act: Callable[..., Any], *args: str) -> Any:
        try:
            return act(*args)
        except OSError as error:
            raise StdoutLostError(error) from error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def guarded_stdout() -> Iterator[None]:
    """Raise StdoutLostError within the block, or at its end, where stdout cannot be written."""
    stream: Any = sys.stdout
    if stream is None:  # as in `servetwin … >&-`
        yield
        return
    guarded: Any = _Stdout(stream)
    sys.stdout = guarded
    try:
        yield
        guarded.flush()
    except StdoutLostError:
        # Python would try once more, and complain, when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        raise
    finally:
        sys.stdout = stream


def stdout() -> Console:
    """Console for results; 80 columns where stdout is no terminal."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=False)


def warn(message: str) -> None:
    """Say in one line what the user should know but need not act on."""
    tell(f"servetwin: warning: {message}")


def tell(line: str) -> None:
    """Write a line to stderr; where nobody can read it, go on without."""
    if sys.stderr is not None:  # None would mean stdout
        with suppress(OSError):
            print(line, file=sys.stderr, flush=True)


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
    if sys.stderr is None or not sys.stderr.isatty():
        yield (lambda _done: None), tell
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True, highlight=False)
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield (lambda done: bar.update(task, completed=done)), console.print
