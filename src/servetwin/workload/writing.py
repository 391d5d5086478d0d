"""Write a Workload as a trace file."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from servetwin.errors import InputError, nearest
from servetwin.types import Workload
from servetwin.workload.formats import BY_NAME
from servetwin.workload.saving import ADAPTERS, HASHES, PRIORITIES, SESSIONS

__all__ = ["WRITABLE", "write"]

WRITABLE = tuple(name for name, format in BY_NAME.items() if format.write)
"""Names of the formats that can be written; `servetwin` keeps everything."""


def write(workload: Workload, path: str | Path, format: str, *, drop: bool = False) -> None:
    """Write `workload` to `path`, replacing a file of that name only when all is written.

    Raises InputError where the format would lose something, saying what. With `drop`,
    session ids, hashes, priorities and adapters that do not fit are left out; follow-ups never are.
    """
    file = Path(path)
    if format not in WRITABLE:
        hint = nearest(format, WRITABLE) or f"writable formats are {', '.join(WRITABLE)}"
        raise InputError(f"{file}: cannot write the format '{format}'; {hint}")
    _check_place(workload, file)
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
        with suppress(OSError):
            temporary.unlink()


def _check_place(workload: Workload, file: Path) -> None:
    """Raise InputError where `file` is a folder, a device, or what `workload` was read from."""
    try:
        if file.is_dir():
            raise InputError(f"{file}: is a folder; name a file")
        if not file.exists():
            return
        if not file.is_file():
            raise InputError(f"{file}: is not a regular file; name another")
        source = Path(workload.source)
        sources = source.iterdir() if source.is_dir() else [source]
        if any(other.exists() and other.samefile(file) for other in sources):
            raise InputError(f"{file}: is the trace that is read; name another file")
    except OSError:
        return  # what cannot be looked at cannot be written either, and then says why


def _without(workload: Workload, lost: list[str]) -> Workload:
    if SESSIONS in lost:
        workload = replace(workload, session_id=None)
    if HASHES in lost:
        workload = replace(workload, block_hashes=None)
    if PRIORITIES in lost:
        workload = replace(workload, priority=None)
    if ADAPTERS in lost:
        workload = replace(workload, adapter=None)
    return workload
