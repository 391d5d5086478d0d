"""The frame: start-up, unknown words, exit statuses."""

import importlib
import os
import subprocess
import sys
import time
from typing import Any

import pytest

from servetwin.cli import app as program
from servetwin.cli.options import flag_of
from servetwin.cli.settings import RunSettings
from servetwin.errors import InputError


def run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_:
        program.main(list(args))
    out, err = capsys.readouterr()
    status = exit_.value.code
    assert isinstance(status, int)
    return status, out, err


def test_help_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "--help")
    assert (status, err) == (0, "")
    assert all(f"  {name} " in out for name in program.VERBS)
    assert run(capsys)[1] == out


@pytest.mark.parametrize("verb", list(program.VERBS))
def test_every_verb_has_a_module_and_help(
    verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert hasattr(importlib.import_module(f"servetwin.cli.{verb}"), "app")
    status, out, _ = run(capsys, verb, "--help")
    assert status == 0
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("verb", ["workload", "catalog", "study"])
def test_a_verb_without_its_second_word_shows_its_help(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = run(capsys, verb)
    assert (status, err) == (0, "")
    assert out == run(capsys, verb, "--help")[1]
    assert len(out.splitlines()) > 5


def test_every_setting_has_a_flag(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "simulate", "--help")
    missing = [name for name in RunSettings.model_fields if flag_of(name) not in out]
    assert missing == ["defaulted"]  # which only a saved run holds


def test_help_starts_quickly_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from servetwin.cli import main\n"
        "try: main(['simulate', '--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('numpy', 'numba', 'pyarrow', 'altair', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    # The best of three: the machine may be busy with something else.
    durations = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "servetwin", "--help"], capture_output=True)
        durations.append(time.perf_counter() - start)
    assert min(durations) < 0.4


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["simulat"], "No such command 'simulat'. Did you mean 'simulate'?"),
        (["simulate", "--modle", "x"], "No such option: --modle (Possible options: "),
        (["simulate", "--model"], "Option '--model' requires an argument."),
        (["simulate", "stray"], "Got unexpected extra argument(s) (stray)"),
        (
            ["study", "pools", "--engines", "two"],
            "Invalid value for '--engines': must be a whole number",
        ),
        (["report"], "Missing argument 'DIR'."),
    ],
)
def test_usage_errors_take_one_line(
    args: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = run(capsys, *args)
    assert (status, out) == (2, "")
    assert err.startswith(f"servetwin: error: {message}")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("raised", "status", "said"),
    [
        (InputError("line 3 is bad"), 2, "servetwin: error: line 3 is bad\n"),
        (KeyboardInterrupt(), 130, "servetwin: interrupted\n"),
    ],
)
def test_how_a_verb_ends(
    raised: BaseException,
    status: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any) -> None:
        raise raised

    monkeypatch.setattr("servetwin.cli.layers.load_settings", fail)
    assert run(capsys, "simulate") == (status, "", said)


def test_a_bug_shows_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("servetwin.cli.layers.load_settings", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        program.main(["simulate"])


def test_a_reader_that_leaves_early_is_told_nothing() -> None:
    command = [sys.executable, "-m", "servetwin", "catalog", "models", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    os.read(process.stdout.fileno(), 10)
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 1
