"""Ctrl-C waits until it is asked for."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from servetwin.results.interruption import between_steps


@pytest.fixture(autouse=True)
def usual_handler() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.signal(signal.SIGINT, before) is signal.default_int_handler


def test_it_is_raised_where_it_is_taken() -> None:
    steps = []

    def work() -> None:
        with between_steps() as take:
            for step in range(5):
                take()
                if step == 1:
                    signal.raise_signal(signal.SIGINT)
                steps.append(step)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert steps == [0, 1]


def test_it_is_raised_at_the_end_where_nobody_takes_it() -> None:
    done = []

    def work() -> None:
        with between_steps():
            signal.raise_signal(signal.SIGINT)
            done.append("all")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["all"]


def test_a_second_one_does_not_disturb_what_follows_the_first() -> None:
    closed = []

    def work() -> None:
        with between_steps() as take:
            try:
                signal.raise_signal(signal.SIGINT)
                take()
            finally:
                signal.raise_signal(signal.SIGINT)
                closed.append("in order")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert closed == ["in order"]


def test_an_error_is_not_replaced() -> None:
    def work() -> None:
        with between_steps():
            signal.raise_signal(signal.SIGINT)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()


def test_where_it_is_ignored_it_stays_so() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with between_steps() as take:
            signal.raise_signal(signal.SIGINT)
            take()
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def test_other_threads_are_left_alone() -> None:
    handlers = []

    def work() -> None:
        with between_steps() as take:
            take()
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [signal.default_int_handler]
