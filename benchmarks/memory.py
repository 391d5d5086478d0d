"""Peak memory of a process itself; what getrusage says of it begins with its parent's."""

from __future__ import annotations

import resource
from pathlib import Path

__all__ = ["REPORTING", "own_peak_megabytes"]

REPORTING = """
import sys
from pathlib import Path
from benchmarks.memory import own_peak_megabytes
from servetwin.cli import main
try:
    main(sys.argv[2:])
finally:
    Path(sys.argv[1]).write_text(str(own_peak_megabytes()))
"""
"""A program: servetwin, which leaves its peak in the file named before its arguments."""


def own_peak_megabytes() -> float:
    """Largest resident set of this process since it began, in 2**20 bytes."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    line = next(row for row in status.read_text().splitlines() if row.startswith("VmHWM"))
    return int(line.split()[1]) / 1024
