"""Write a Workload as a trace file."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from servetwin.errors import InputError, nearest
from servetwin.types import Workload
from servetwin.workload.formats import BY_NAME
from servetwin.workload.saving import HASHES, SESSIONS

__all__ = ["WRITABLE", "write"]

WRITABLE = tuple(name for name, format in BY_NAME.items() if format.write)
"""Names of the formats that can be written; `servetwin` keeps everything."""


def write(workload: Workload, path: str | Path, format: str, *, drop: bool = False) -> None:
    """Write `workload` to `path`, replacing a file of that name only when all is written.

    Raises InputError where the format would lose something, saying what. With `drop`,
    session ids and block hashes that do not fit are left out; follow-ups never are.
    """
    file = Path(path)
    if format not in WRITABLE:
        hint = nearest(format, WRITABLE) or f"writable formats are {', '.join(WRITABLE)}"
        raise InputError(f"{file}: cannot write the format '{format}'; {hint}")
    chosen = BY_NAME[format]
    assert chosen.write is not None
    assert chosen.unwritable is not None
    lost = chosen.unwritable(workload)
    if drop and lost:
        workload = _without(workload, lost)
        lost = chosen.unwritable(workload)
    if lost:
        raise InputError(
            f"{file}: the format '{format}' would lose {' and '.join(lost)}; "
            "the format 'servetwin' keeps everything"
        )
    temporary = file.with_name(f".{file.stem}.{os.getpid()}.tmp{file.suffix}")
    try:
        chosen.write(workload, temporary)
        temporary.replace(file)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise InputError(f"{file}: cannot be written ({reason})") from None
    finally:
        temporary.unlink(missing_ok=True)


def _without(workload: Workload, lost: list[str]) -> Workload:
    if SESSIONS in lost:
        workload = replace(workload, session_id=None)
    if HASHES in lost:
        workload = replace(workload, block_hashes=None)
    return workload
