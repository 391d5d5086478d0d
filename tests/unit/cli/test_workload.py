"""`servetwin workload`: what it prints, and what it leaves alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from servetwin.cli import app as program

SESSION = '{"requests": [{"in": 10, "out": 2}, {"in": 900, "out": 2}]}'


def run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[object, str, str]:
    with pytest.raises(SystemExit) as ended:
        program.main(["workload", *args])
    out, err = capsys.readouterr()
    return ended.value.code, out, err


@pytest.fixture
def sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "chats").mkdir()
    for name in "abc":
        (tmp_path / "chats" / f"{name}.json").write_text(SESSION)
    return "chats"


def test_sessions_are_shown_with_their_rate_content_and_notes(
    sessions: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = run(capsys, "show", sessions, "--rps", "2")
    assert (status, err) == (0, "")
    assert "sessions/s" in out
    assert "Note: sessions without times of their own come as a Poisson process" in out
    _, out, _ = run(capsys, "show", sessions, "--json")
    digest = json.loads(out)["sha256"]
    assert len(digest) == 16
    _, out, _ = run(capsys, "show", sessions, "--max-total-tokens", "500")
    assert digest in out
    assert "requests/s" not in out
    assert "3 of 6 requests left out" in out
    assert max(map(len, out.splitlines())) <= 80


def test_what_is_left_out_is_said_where_it_is_written(
    sessions: str, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ("convert", sessions, "short.parquet", "--max-total-tokens", "500")
    status, out, _ = run(capsys, *args)
    assert status == 0
    assert out.startswith("Written to short.parquet (servetwin): 3 requests\nNote: 3 of 6 requests")
    args = ("convert", "short.parquet", "one.parquet", "--requests", "1")
    assert run(capsys, *args)[1] == "Written to one.parquet (servetwin): 1 request\n"


def test_a_trace_is_not_written_over_itself(
    sessions: str, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = Path(sessions, "a.json")
    args = ("convert", str(trace), f"../{Path.cwd().name}/chats/a.json", "--drop")
    status, out, err = run(capsys, *args)
    assert (status, out) == (2, "")
    assert err.endswith("a.json: is the trace that is read; name another file\n")
    assert trace.read_text() == SESSION
