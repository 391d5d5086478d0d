"""Read a trace file into a Workload."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from servetwin.errors import InputError, nearest
from servetwin.types import Workload
from servetwin.workload.detect import detect_format
from servetwin.workload.formats import BY_NAME
from servetwin.workload.mapping import read_mapped

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
    if mapping is not None:
        if format not in (None, "mapped"):
            raise InputError(f"{file}: a mapping and the format '{format}' exclude each other")
        return read_mapped(file, mapping)
    if format == "mapped":
        raise InputError(f"{file}: the format 'mapped' needs a mapping (input=…,output=…)")
    return BY_NAME[format or detect_format(file)].read(file)
