"""Ctrl-C: at once where nothing is at stake, in order where something is kept or cleaned up.

Raising KeyboardInterrupt anywhere is not enough. In the middle of an import, of numba's
compiler or of a callback from C it gets lost, turns into another error, or leaves a traceback.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from servetwin.cli import INTERRUPTED, leave

__all__ = ["INTERRUPTED", "abandon_threads", "at_once", "in_order", "in_thread"]

T = TypeVar("T")


@contextmanager
def at_once() -> Iterator[None]:
    """Within the block, Ctrl-C ends the process at once: for imports, and reading input."""
    with _handling(leave):
        yield


@contextmanager
def in_order() -> Iterator[None]:
    """Within the block, Ctrl-C raises KeyboardInterrupt; where that gets lost, once more."""
    hook = sys.unraisablehook

    def again(lost: Any) -> None:
        if not issubclass(lost.exc_type, KeyboardInterrupt):
            hook(lost)
            return
        # Not from here: what is raised in this function gets lost too.
        threading.Timer(0.02, _thread.interrupt_main).start()

    sys.unraisablehook = again
    try:
        with _handling(signal.default_int_handler):
            yield
    finally:
        sys.unraisablehook = hook


def in_thread(work: Callable[[], T]) -> T:
    """Return what `work` returns, and wait for it in a way that Ctrl-C ends at once.

    The thread then goes on until the process ends; see `abandon_threads`.
    """
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(1)
    try:
        return pool.submit(work).result()
    finally:
        pool.shutdown(wait=False)


def abandon_threads(status: int) -> None:
    """End the process without waiting for the work that Ctrl-C has made pointless."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, AttributeError):
            stream.flush()
    os._exit(status)


@contextmanager
def _handling(handler: Any) -> Iterator[None]:
    before = _handle(handler)
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGINT, before)


def _handle(handler: Any) -> Any:
    """Install `handler` and return the one before; None, and no change, where that is wrong."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread():
        return None
    if before in (signal.SIG_IGN, None):  # as a shell sets it for what runs in the background
        return None
    signal.signal(signal.SIGINT, handler)
    return before
