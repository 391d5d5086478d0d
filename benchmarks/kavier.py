"""Kavier's experiment 1.3 beside the original: the same requests, the same files, one run.

The original is no dependency. Give it an environment of its own, and name its Python:

    python3 -m venv ../kavier-venv
    ../kavier-venv/bin/pip install kavier
    KAVIER_PYTHON=../kavier-venv/bin/python python -m benchmarks kavier

Both are whole commands that read a CSV of counts, simulate, and write tasks.parquet and
fragments.parquet. Seconds are CPU seconds of one run, which a busy machine distorts less than
wall seconds. Each export rate takes as many of the first requests of the equivalent trace as
make 2 to 8 million fragments, so that the original is done within a minute in all. With
`--quick` it is a tenth of the requests, and there is no goal: starting Python and its packages
is then most of what both do.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Figure, at_least
from servetwin.workload import marconi_equivalent, take, write

__all__ = ["measure"]

REQUESTS = {1.0: 96_870, 0.1: 40_000, 0.01: 4_000, 0.001: 400}
"""By export rate, seconds."""
SETTINGS = ("--llm", "Llama-3-8B", "--gpu", "A10", "--kv_cache", "on")


@dataclass(frozen=True)
class Cost:
    """Of one command: CPU seconds, and peak memory."""

    seconds: float
    megabytes: float


def peer_python() -> str | None:
    """The Python that has the original, if there is one."""
    named = os.environ.get("KAVIER_PYTHON")
    if named is not None:
        return named
    return sys.executable if importlib.util.find_spec("kavier") else None


def cost_of(command: list[str], folder: Path) -> Cost:
    """Run a command; RuntimeError with its last words where it fails."""
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    with process.stderr:
        errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}: {errors.decode()[-500:]}")
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def commands(peer: str, rate: float) -> tuple[list[str], list[str]]:
    """The original's command, and ours."""
    rest = [*SETTINGS, "--trace", "trace.csv", "--export_rate", f"{rate:g}", "--output_folder"]
    return (
        [peer, "-m", "kavier", "inference", *rest, "theirs"],
        [sys.executable, "-m", "servetwin", "study", "kavier", *rest, "ours"],
    )


def measure(quick: bool) -> Iterator[Figure]:
    """Seconds of both and their ratio at each export rate, and memory at the finest."""
    peer = peer_python()
    if peer is None:
        how = __doc__.split("\n\n")[2]
        print(f"kavier is not installed here:\n{how}")
        return
    trace = marconi_equivalent()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # The first command of ours compiles, once for this machine.
        write(take(trace, 10), folder / "trace.csv", "kavier", drop=True)
        cost_of(commands(peer, 1.0)[1], folder)
        theirs, ours = (cost_of(command, folder) for command in commands(peer, 1.0))
        yield Figure("10 requests (starting up), kavier", theirs.seconds, "s", "", True)
        yield Figure("10 requests (starting up), servetwin", ours.seconds, "s", "", True)
        for rate, requests in REQUESTS.items():
            count = requests // 10 if quick else requests
            write(take(trace, count), folder / "trace.csv", "kavier", drop=True)
            theirs, ours = (cost_of(command, folder) for command in commands(peer, rate))
            yield from figures_of(f"{rate:g} s x {count:,}", theirs, ours, quick)


def figures_of(label: str, theirs: Cost, ours: Cost, quick: bool) -> Iterator[Figure]:
    """Seconds and memory of both, and how many times faster ours was."""
    yield Figure(f"export {label}, kavier", theirs.seconds, "s", "", True)
    yield Figure(f"export {label}, servetwin", ours.seconds, "s", "", True)
    ratio = at_least(f"export {label}, times faster", theirs.seconds / ours.seconds, 1, "x")
    yield Figure(ratio.name, ratio.value, "x", "", True) if quick else ratio
    yield Figure(f"export {label}, peak of kavier", theirs.megabytes, "MB", "", True)
    yield Figure(f"export {label}, peak of servetwin", ours.megabytes, "MB", "", True)
