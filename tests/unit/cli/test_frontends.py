"""`--frontend`."""

from __future__ import annotations

import pytest

from servetwin.cli.frontends import parse_frontend
from servetwin.cost import usual_frontend
from servetwin.cost.frontends import write_frontend
from servetwin.errors import InputError
from servetwin.types import Frontend


def test_what_can_be_written() -> None:
    assert parse_frontend("none") is None
    assert parse_frontend("usual") == usual_frontend()
    assert parse_frontend("8ms, 5us") == Frontend(request=8 * 10**9, token=5 * 10**6)
    assert parse_frontend("0s,0s") is None


@pytest.mark.parametrize("frontend", [None, usual_frontend(), Frontend(1, 0), Frontend(0, 123)])
def test_what_is_saved_can_be_read(frontend: Frontend | None) -> None:
    assert parse_frontend(write_frontend(frontend)) == frontend


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("fast", "--frontend fast: write none, usual, or the times"),
        ("8ms", "--frontend 8ms: write none, usual"),
        ("8ms,soon", "--frontend 8ms,soon: "),
        ("-1s,0s", "--frontend -1s,0s: "),
        ("2h,0s", "at most an hour"),
    ],
)
def test_what_cannot(text: str, told: str) -> None:
    with pytest.raises(InputError) as error:
        parse_frontend(text)
    assert told in str(error.value)
    assert "\n" not in str(error.value)
