"""Ctrl-C, from the first import to the last file: one line, status 130, nothing half-written."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MODEL = ["--model", "openai-community/gpt2", "--gpu", "A10"]
RUN = ["simulate", *MODEL, "--isl", "100", "--osl", "20"]

SAID = "servetwin: interrupted\n"

# From a finalizer, as numba's compiler has many: what is raised there gets lost.
AT_AN_IMPORT = """
import os, signal, sys

class Interrupt:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):
            pass

    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            Interrupt()

sys.meta_path.insert(0, Interrupt())
from servetwin.cli import main
main(sys.argv[2:])
"""


@pytest.mark.parametrize(
    "module",
    [
        "servetwin.cli.app",
        "typer",
        "servetwin.cli.simulate",
        "pydantic",
        "servetwin.cli.layers",
        "numpy",
        "numpy.random",
        "servetwin.catalog",
        "numba",
        "numba.core.compiler",
        "servetwin.sim.kernel.cluster",
        "pyarrow",
        "altair",
    ],
)
def test_while_a_module_is_imported(module: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", AT_AN_IMPORT, module, *RUN, "--requests", "5", "--out", "out"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr.splitlines()[-1:]) == (130, "", [SAID[:-1]])
    assert set(done.stderr.splitlines()) - {SAID[:-1]} <= {COMPILING}
    assert list(tmp_path.iterdir()) == []


COMPILING = "compiling the simulator for this machine, once (10 to 20 seconds) …"


def test_while_the_kernel_is_compiled(tmp_path: Path) -> None:
    environment = {**os.environ, "SERVETWIN_CACHE": str(tmp_path / "cache")}
    process = subprocess.Popen(
        [sys.executable, "-m", "servetwin", *RUN, "--out", str(tmp_path / "out")],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert process.stderr.readline() == f"{COMPILING}\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert (process.returncode, err) == (130, SAID)
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


@contextmanager
def on_a_terminal(folder: Path, *args: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run servetwin with a terminal for stderr; yield the process and the terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "servetwin", *args],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=theirs,
    )
    os.close(theirs)
    try:
        yield process, ours
    finally:
        process.kill()
        process.communicate()
        os.close(ours)


def read_until(terminal: int, wanted: bytes) -> bytes:
    """Read until `wanted` was written, or until the last writer has left."""
    text = b""
    while wanted not in text:
        try:
            text += os.read(terminal, 4096)
        except OSError:
            break
    return text


def test_a_sweep_keeps_the_rates_that_have_finished(tmp_path: Path) -> None:
    # The bar says when the first rate is done; the others then take about a second each.
    args = ["--requests", "1000", "--sweep-rps", "5,1000,2000,3000", "--reference", "--out", "out"]
    with on_a_terminal(tmp_path, *RUN, *args) as (process, terminal):
        assert b"1/4" in read_until(terminal, b"1/4")
        process.send_signal(signal.SIGINT)
        assert SAID.strip().encode() in read_until(terminal, SAID.strip().encode())
        out, _ = process.communicate(timeout=10)
        assert process.returncode == 130
    note = "Interrupted after 1 of 4 rates: 1000, 2000, 3000 are missing."
    assert note in " ".join(out.decode().split())
    content = json.loads((tmp_path / "out" / "load_curve.json").read_text())
    assert [point["offered_rps"] for point in content["points"]] == [5]
    assert content["missing_rps"] == [1000, 2000, 3000]
    assert note in content["notes"]
    assert content["config"]["sweep_rps"] == [5, 1000, 2000, 3000]


def test_the_pools_study_keeps_what_has_finished(tmp_path: Path) -> None:
    args = ["study", "pools", *MODEL, "--isl", "500", "--osl", "50", "--requests", "3000"]
    limits = ["--slo", "ttft=1s,tpot=100ms", "--engines", "3", "--out", "out"]
    with on_a_terminal(tmp_path, *args, *limits) as (process, terminal):
        assert b" 1/" in read_until(terminal, b" 1/")
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=20)
        assert process.returncode == 130
    content = json.loads((tmp_path / "out" / "pools.json").read_text())
    assert content["interrupted"]
    assert 1 <= len(content["layouts"]) < 20
    assert content["verdict"][0].startswith("Interrupted after ")
    assert content["verdict"][0] in " ".join(out.decode().split())
    assert (tmp_path / "out" / "pools.png").exists()


def test_a_run_on_a_terminal_gets_its_cursor_back(tmp_path: Path) -> None:
    args = ["--requests", "20000", "--rps", "50", "--reference", "--out", "out"]
    with on_a_terminal(tmp_path, *RUN, *args) as (process, terminal):
        read_until(terminal, b"Simulating")
        process.send_signal(signal.SIGINT)
        told = read_until(terminal, SAID.strip().encode())
        process.communicate(timeout=10)
        assert process.returncode == 130
    show_cursor = b"\x1b[?25h"
    assert show_cursor in told
    assert list(tmp_path.iterdir()) == []


def test_what_a_shell_has_told_to_ignore_ctrl_c_goes_on(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", AT_AN_IMPORT, "numpy", *RUN, "--requests", "5", "--reference"],
        cwd=tmp_path,
        capture_output=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    assert (done.returncode, done.stderr) == (0, b"")
