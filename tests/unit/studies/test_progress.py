"""Counting for whoever looks on, and silence in a pipe."""

from __future__ import annotations

import io
import re
import sys

import pytest

from servetwin.studies.kavier_experiments import export_study
from servetwin.studies.progress import counting


class Terminal(io.StringIO):
    """A stderr of 80 columns that somebody looks at."""

    def isatty(self) -> bool:
        return True

    def lines(self) -> list[str]:
        plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.getvalue())
        return [line.rstrip() for line in re.split(r"[\r\n]", plain) if line.strip()]


def looked_at(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Replace stderr; not in a fixture, after which pytest puts its own in place."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    return stream


def test_a_bar_where_the_total_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = looked_at(monkeypatch)
    with counting("export rate 0.001 s", "fragments", 1_807_765_184) as told:
        assert told is not None
        told(1_234_567_890)
    last = terminal.lines()[-1]
    assert "1,234,567,890 of 1,807,765,184 fragments" in last
    assert max(map(len, terminal.lines())) <= 80


def test_a_count_where_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = looked_at(monkeypatch)
    with counting("run 1 of 2", "fragments") as told:
        assert told is not None
        told(1000)
    assert terminal.lines()[-1].startswith("run 1 of 2: 1,000 fragments")


def test_nothing_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    with counting("run 1 of 2", "fragments", 10) as told:
        assert told is None
    assert capsys.readouterr().err == ""


def test_the_study_of_export_rates_shows_one(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = looked_at(monkeypatch)
    outcome = export_study.run(None, True, [1.0], "kavier")
    count = outcome.tables["rates"].rows[0]["fragments"]
    assert any(f"{count:,} of {count:,} fragments" in line for line in terminal.lines())
