"""What the benchmarks measure with."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
MEGABYTE = 1 << 20


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc here")
def test_a_process_does_not_inherit_the_peak_of_its_parent() -> None:
    child = "from benchmarks.memory import own_peak_megabytes as peak; print(peak())"
    ballast = bytearray(200 * MEGABYTE)
    ballast[:: MEGABYTE // 256] = b"x" * len(ballast[:: MEGABYTE // 256])
    done = subprocess.run(
        [sys.executable, "-c", child], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert 1 < float(done.stdout) < 100
