"""How long a user waits: whole commands, as the operating system accounts for them."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.figures import Figure, at_most
from benchmarks.memory import REPORTING

__all__ = ["measure"]

SMALL = "simulate --model Llama-3.1-8B --gpu A100-80GB --workload azure-conv --requests 1000"
LARGE = (
    "simulate --model Llama-3.1-8B --gpu A100-80GB --replicas 64 --router least-outstanding "
    "--workload azure-conv --rps 352 --no-report --requests "
)


def _run(arguments: str, cache: Path | None = None) -> float:
    """Wall seconds of `servetwin` with these arguments."""
    return _timed([sys.executable, "-m", "servetwin", *arguments.split()], cache)


def _peak(arguments: str, cache: Path, folder: Path) -> tuple[float, float]:
    """Wall seconds and peak megabytes of `servetwin` with these arguments."""
    peak = folder / "peak"
    command = [sys.executable, "-c", REPORTING, str(peak), *arguments.split()]
    return _timed(command, cache), float(peak.read_text())


def _timed(command: list[str], cache: Path | None) -> float:
    environment = dict(os.environ)
    if cache is not None:
        environment["SERVETWIN_CACHE"] = str(cache)
    start = time.perf_counter()
    subprocess.run(
        command,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - start


def _best(arguments: str, cache: Path | None = None) -> float:
    return min(_run(arguments, cache) for _ in range(3))


def measure(quick: bool) -> list[Figure]:
    """Start-up times, and a large run from generator to files; `quick` makes it a tenth."""
    requests = 1_000_000 if quick else 10_000_000
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "cache"
        first = _run(SMALL, cache)
        warm = _best(SMALL, cache)
        size = f"{requests / 1e6:g} M requests x 64"
        large = f"{LARGE}{requests} --out {folder}/large"
        seconds, megabytes = _peak(large, cache, Path(folder))
    return [
        at_most("servetwin --help", _best("--help"), 0.4, "s"),
        at_most("first small run (compiles the kernel)", first, 20, "s"),
        at_most("small run, 1,000 requests, warm", warm, 1.5, "s"),
        at_most(f"{size}, to files", seconds, 25, "s"),
        at_most(f"{size}, peak memory", megabytes, 1500, "MB"),
    ]
