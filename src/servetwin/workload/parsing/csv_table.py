"""CSV with a header line -> batches of text cells."""

from __future__ import annotations

import csv
import difflib
from collections.abc import Iterator
from pathlib import Path

from servetwin.errors import InputError, counted
from servetwin.workload.parsing.batch import Batch, Wanted, chunks
from servetwin.workload.parsing.text import MAX_LINE_BYTES, text_lines

__all__ = ["csv_batches", "csv_header", "missing_column"]

# The limit of the csv module is global to the process; token lists exceed its default.
csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE_BYTES))

_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
"""What other programs put between the columns."""


def csv_header(path: Path) -> list[str]:
    """Return the column names of the first line."""
    return _header(path, _rows(path))


def csv_batches(path: Path, wanted: Wanted) -> Iterator[Batch]:
    """Yield the wanted columns; blank lines are skipped, other columns ignored.

    Raises InputError for a missing or repeated column, broken quoting, and a row whose
    number of values is not the header's.
    """
    rows = _rows(path)
    header = _header(path, rows)
    present = _present(path, header, wanted)
    kept = tuple(present.values())
    for chunk in chunks(_cells(path, rows, len(header), kept), wanted.rows):
        lines = [line for line, _ in chunk]
        columns = {name: [row[at] for _, row in chunk] for at, name in enumerate(present)}
        yield Batch(str(path), lines, columns, textual=True, noun="column")


def _header(path: Path, rows: Iterator[tuple[int, list[str]]]) -> list[str]:
    """Take the first row as names; those that are empty at its end are no columns.

    (Kavier's header ends with a comma.) Raises InputError where something else than a comma
    separates the names: such files often write numbers with a decimal comma, too.
    """
    line, cells = next(rows)
    for mark, name in _SEPARATORS.items():
        if len(cells) == 1 and mark in cells[0].strip():
            raise InputError(
                f"{path}:{line}: the columns are separated by {name}; commas are needed"
            )
    names = [cell.strip() for cell in cells]
    while names and not names[-1]:
        names.pop()
    return names


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (line, cells) of the lines that are not blank; the first is the header."""
    reader = csv.reader((line for _, line in text_lines(path)), strict=True)
    empty = True
    try:
        for row in reader:
            if len(row) > 1 or (row and row[0].strip()):
                empty = False
                yield reader.line_num, row
    except csv.Error as error:
        # Of the csv module's messages this one is about the caller, not the file.
        lone = str(error).startswith("new-line character")
        problem = "a carriage return within a line" if lone else f"{error}; was the file cut?"
        raise InputError(f"{path}:{reader.line_num}: not valid CSV: {problem}") from None
    if empty:
        raise InputError(f"{path}: the file is empty")


def _cells(
    path: Path, rows: Iterator[tuple[int, list[str]]], width: int, kept: tuple[int, ...]
) -> Iterator[tuple[int, list[str]]]:
    """Yield (line, the kept cells) of rows that have `width` values."""
    for line, row in rows:
        if len(row) != width and (len(row) < width or any(row[width:])):
            hint = "; was the file cut?" if len(row) < width else ""
            raise InputError(
                f"{path}:{line}: {counted(len(row), 'value')} where the header names "
                f"{counted(width, 'column')}{hint}"
            )
        yield line, [row[at] for at in kept]


def _present(path: Path, header: list[str], wanted: Wanted) -> dict[str, int]:
    """Map the wanted columns that exist to their positions."""
    for name in wanted.required:
        if name not in header:
            raise missing_column(f"{path}:1", "column", name, header)
    present = {}
    for name in (*wanted.required, *wanted.optional):
        if header.count(name) > 1:
            raise InputError(f"{path}:1: column '{name}' appears {header.count(name)} times")
        if name in header:
            present[name] = header.index(name)
    return present


def missing_column(where: str, noun: str, name: str, found: list[str]) -> InputError:
    """Return the exception for an absent column or key, naming the nearest one found."""
    near = difflib.get_close_matches(name, found[:100], n=1, cutoff=0.5)
    names = ", ".join(word[:40] for word in found[:8]) + (", …" if len(found) > 8 else "")
    hint = f"the nearest is '{near[0][:80]}'" if near else f"found: {names or 'none'}"
    return InputError(f"{where}: no {noun} '{name}'; {hint}")
