"""Batch: some thousand records of a trace as columns of raw values, with their places."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from servetwin.errors import InputError

__all__ = ["BATCH_ROWS", "Batch", "Wanted", "chunks"]

BATCH_ROWS = 1 << 16
"""Records converted at once: enough to be fast, few enough to bound memory."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class Wanted:
    """Names of the columns to read; others are ignored and not held in memory."""

    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    rows: int = BATCH_ROWS
    """Records a batch; fewer where cells are long lists."""


@dataclass(frozen=True)
class Batch:
    """Columns of equal length; an optional column that the file lacks is absent."""

    path: str
    places: Sequence[object]
    """Of each record: its line, row, entry or key path, counted from 1."""
    columns: Mapping[str, Sequence[Any]]
    textual: bool = False
    """Cells are text as in CSV, rather than typed values as in JSON and Parquet."""
    place_format: str = ":{}"
    noun: str = "key"

    def __len__(self) -> int:
        return len(self.places)

    def error(self, row: int, column: str, problem: str) -> InputError:
        """Return the exception that tells `problem` of the cell at (row, column)."""
        place = self.place_format.format(self.places[row])
        return InputError(f"{self.path}{place}: {self.noun} '{column}': {problem}")


def chunks(records: Iterator[_T], size: int = BATCH_ROWS) -> Iterator[list[_T]]:
    """Yield lists of at most `size` records until `records` is exhausted."""
    while chunk := list(islice(records, size)):
        yield chunk
