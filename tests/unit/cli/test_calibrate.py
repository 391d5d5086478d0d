"""`servetwin calibrate profile` where it cannot run: one line, exit status 2."""

from __future__ import annotations

import sys

import pytest

from servetwin.cli.app import main

PROFILE = ["calibrate", "profile", "--model", "gpt2"]


def told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--device", "cud"], "--device cud: not known; did you mean cuda or cpu?"),
        (["--device", "tpu"], "--device tpu: not known; did you mean cpu?"),
        (["--device", "gaudi"], "--device gaudi: not known; known: cpu, cuda"),
        (["--device", "cpu", "--dtype", "fp8"], "--dtype fp8: cannot be profiled"),
        (["--device", "cpu", "--threads", "0"], "--threads 0: must be at least 1"),
        ([], "Missing option '--device'"),
    ],
)
def test_bad_options(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert message in told([*PROFILE, *options], capsys)


def test_without_pytorch_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    error = told([*PROFILE, "--device", "cpu"], capsys)
    assert error == (
        "servetwin: error: profiling needs PyTorch, which is not installed: pip install torch\n"
    )
