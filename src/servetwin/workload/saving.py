"""What the writers of all formats share: what would be lost, and getting lines onto disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from servetwin.types import Workload
from servetwin.workload.parsing.numbers import PRIORITY

__all__ = [
    "ADAPTERS",
    "FOLLOW_UPS",
    "HASHES",
    "PRIORITIES",
    "SESSIONS",
    "losses",
    "save_lines",
    "save_table",
    "with_priorities",
]

ADAPTERS = "adapters"
PRIORITIES = "priorities"
SESSIONS = "session ids"
HASHES = "prefix block hashes"
FOLLOW_UPS = "follow-ups (a closed loop)"


def losses(
    workload: Workload,
    *,
    arrivals: bool = False,
    sessions: bool = False,
    follow_ups: bool = False,
    hashes: bool = False,
    priorities: bool = False,
) -> list[str]:
    """Name what `workload` has of the things that a format does not keep."""
    lost = []
    if not arrivals and bool(np.any(workload.arrival > 0)):
        lost.append("arrival times")
    if not follow_ups and workload.closed_loop:
        lost.append(FOLLOW_UPS)
    if not sessions and workload.session_id is not None:
        lost.append(SESSIONS)
    if not hashes and workload.block_hashes is not None:
        lost.append(HASHES)
    if not priorities and workload.priority is not None:
        lost.append(PRIORITIES)
    if workload.adapter is not None:
        lost.append(ADAPTERS)
    return lost


def with_priorities(workload: Workload, lines: Iterator[str]) -> Iterator[str]:
    """Append a column of priorities to the lines of a CSV, its header first, if there are any."""
    if workload.priority is None:
        yield from lines
        return
    yield f"{next(lines)},{PRIORITY}"
    for line, priority in zip(lines, workload.priority.tolist(), strict=True):
        yield f"{line},{priority}"


def save_lines(path: Path, header: str | None, lines: Iterator[str]) -> None:
    """Write UTF-8 lines, the header first."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        if header is not None:
            file.write(header + "\n")
        file.writelines(line + "\n" for line in lines)


def save_table(path: Path, table: Any) -> None:
    """Write an Arrow table as Parquet."""
    import pyarrow.parquet as pq

    pq.write_table(table, path)
