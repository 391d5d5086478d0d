"""Ctrl-C while a file is written: taken between two steps, so that the file stays whole."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["between_steps"]


@contextmanager
def between_steps() -> Iterator[Callable[[], None]]:
    """Within the block Ctrl-C waits until the function yielded here is called.

    That function, and the end of the block where nothing else is raised, then do what Ctrl-C
    did before the block: raise KeyboardInterrupt, as a rule. What the block leaves in
    `finally` and `__exit__` is completed, a second Ctrl-C during it is dropped. Outside the
    main thread, which no signal reaches, and where Ctrl-C is ignored nothing changes.

    Without it a file can lose its end even where it is closed in order. Python's buffered
    files run signal handlers after each write to the disk; an exception raised there reaches
    Arrow as a failed write, and a writer that failed once writes no footer.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield _nothing
        return
    came: list[int] = []

    def take() -> None:
        if came:
            came.clear()
            before(signal.SIGINT, None)

    signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield take
    finally:
        signal.signal(signal.SIGINT, before)
    take()


def _nothing() -> None:
    pass
