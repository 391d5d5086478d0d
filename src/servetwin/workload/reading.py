"""Read a trace file into a Workload."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from servetwin.errors import InputError, nearest
from servetwin.types import Workload
from servetwin.workload.detect import detect_format
from servetwin.workload.formats import BY_NAME
from servetwin.workload.mapping import read_mapped
from servetwin.workload.parsing.text import trace_files, unreadable

__all__ = ["FORMATS", "read"]

FORMATS = (*BY_NAME, "mapped")
"""Names of the formats; `mapped` is any request log read through a mapping."""


def read(
    path: str | Path, *, format: str | None = None, mapping: Mapping[str, str] | None = None
) -> Workload:
    """Read a trace; requests out of order are sorted stably by arrival.

    Without `format` the content decides. A `mapping` of the roles arrival, input, output and
    session to column names reads any CSV, JSONL or Parquet log. Raises InputError that names
    the file and, where there is one, the line and the column.
    """
    file = Path(path)
    if format is not None and format not in FORMATS:
        hint = nearest(format, FORMATS) or f"formats are {', '.join(FORMATS)}"
        raise InputError(f"{file}: unknown trace format '{format}'; {hint}")
    if mapping is not None and format not in (None, "mapped"):
        raise InputError(f"{file}: a mapping and the format '{format}' exclude each other")
    if mapping is None and format == "mapped":
        raise InputError(f"{file}: the format 'mapped' needs a mapping (input=…,output=…)")
    if mapping is not None:
        workload = read_mapped(file, mapping)
    else:
        workload = BY_NAME[format or detect_format(file)].read(file)
    return replace(workload, digest=_digest(file))


def _digest(path: Path) -> str:
    """Hash the bytes of a trace; those of a folder's files one after the other."""
    found = hashlib.sha256()
    for file in trace_files(path):
        try:
            with file.open("rb") as stream:
                while part := stream.read(1 << 20):
                    found.update(part)
        except OSError as error:
            raise unreadable(file, error) from None
    return found.hexdigest()[:16]
