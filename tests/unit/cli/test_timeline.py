"""How often a timeline is recorded where nobody says."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from servetwin.cli import app as program
from servetwin.cli.settings import RunSettings
from servetwin.cli.timeline import (
    CLOCK_S,
    ENOUGH_ROWS,
    USUAL,
    default_interval,
    interval_asked,
    lasting_interval,
    written,
)
from servetwin.errors import InputError
from servetwin.types import Workload
from servetwin.units import PS_PER_MS, PS_PER_S

DAY = 86_400


def lasting(seconds: int) -> Workload:
    one = np.ones(2, np.int32)
    return Workload(np.array([0, seconds * PS_PER_S]), one, one)


@pytest.mark.parametrize(
    ("seconds", "replicas", "interval"),
    [(0, 1, 1), (DAY, 1, 1), (DAY, 23, 1), (DAY, 24, 2), (DAY, 64, 5), (90 * DAY, 1, 5)],
)
def test_rows_are_bounded_by_the_span_of_the_workload(
    seconds: int, replicas: int, interval: int
) -> None:
    assert default_interval(lasting(seconds), replicas) == interval * PS_PER_S
    assert seconds / interval * replicas <= ENOUGH_ROWS


@pytest.mark.parametrize("replicas", [1, 8, 64, 1000, 5000])
def test_an_interval_that_lasts_as_long_as_the_clock(replicas: int) -> None:
    assert CLOCK_S * PS_PER_S / lasting_interval(20_000_000, replicas) * replicas <= 20_000_000


def asked(text: str | None) -> int | None:
    return interval_asked(RunSettings(snapshot_interval=text))


def test_what_is_asked_for_is_taken() -> None:
    assert asked(None) is None
    assert asked("0s") == 0
    assert asked("100ms") == 100 * PS_PER_MS
    for text in ("often", "-1s", "1e-13s", "nan", "1e9h"):
        with pytest.raises(InputError, match=f"^--snapshot-interval {text}: write 100ms"):
            asked(text)


def test_intervals_are_written_as_they_are_read() -> None:
    for text in ("1s", "30s", "1m", "20m", "60m"):
        interval = asked(text)
        assert interval is not None
        assert written(interval) == text
    assert written(90 * PS_PER_S) == "90s"


SPARSE = ["simulate", "--model", "openai-community/gpt2", "--gpu", "A10", "--isl", "10"]
SPARSE += ["--osl", "5", "--requests", "50", "--rps", "0.001", "--json"]


def run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[Any, str, str]:
    with pytest.raises(SystemExit) as end:
        program.main([*SPARSE, *args])
    out, err = capsys.readouterr()
    return end.value.code, out, err


def test_a_run_that_outlasts_its_timeline_is_made_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = run(capsys)
    assert "long run" not in usual[1] + usual[2]
    monkeypatch.setattr("servetwin.sim.kernel.snapshot_rows.MOST_SNAPSHOTS", 10_000)
    status, out, err = run(capsys)
    assert (status, err) == (0, "a long run: once more, with a timeline every 20m\n")
    note = "a long run: its timeline has a row every 20m instead of 1s"
    content = json.loads(out)
    assert note in content["notes"]
    assert content["config"]["snapshot_interval"] is None
    assert content["metrics"]["ttft_ms"] == json.loads(usual[1])["metrics"]["ttft_ms"]
    status, out, err = run(capsys, "--snapshot-interval", "1s")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "snapshot interval 1 s gives more than 10,000 rows" in err


def test_a_long_workload_gets_fewer_rows_and_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("servetwin.cli.timeline.ENOUGH_ROWS", 10_000)
    status, out, err = run(capsys)
    assert (status, err) == (0, "")
    note = "a long run: its timeline has a row every 10s instead of 1s"
    assert note in json.loads(out)["notes"]
    assert USUAL == PS_PER_S
