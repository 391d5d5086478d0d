"""Tables of timings, column by column, with errors that name file, line and column."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from servetwin.errors import InputError
from servetwin.workload.parsing.batch import Batch, Wanted
from servetwin.workload.parsing.csv_table import csv_batches
from servetwin.workload.parsing.numbers import exact_number
from servetwin.workload.parsing.parquet_table import is_parquet, parquet_batches

__all__ = ["Columns", "read_columns"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Columns:
    """Columns of equal length from one file: numbers, and labels as text."""

    path: Path
    numbers: Mapping[str, Floats]
    labels: Mapping[str, NDArray[np.str_]]

    def __len__(self) -> int:
        return next((column.size for column in self.numbers.values()), 0)

    def where(self, keep: NDArray[np.bool_]) -> Columns:
        """The rows for which `keep` is true."""
        return Columns(
            self.path,
            {name: column[keep] for name, column in self.numbers.items()},
            {name: column[keep] for name, column in self.labels.items()},
        )


def read_columns(
    path: Path,
    numbers: Sequence[str],
    labels: Sequence[str] = (),
    *,
    blank: Iterable[str] = (),
    optional: Sequence[str] = (),
) -> Columns:
    """Read columns of a CSV or Parquet file.

    Every number must be finite and not negative; an empty cell is allowed in the columns of
    `blank` and becomes NaN. Columns of `optional` may be absent and are numbers. Raises
    InputError for anything else, with line (row in Parquet) and column.
    """
    wanted = Wanted((*numbers, *labels), tuple(optional))
    may_be_blank = frozenset(blank)
    found: dict[str, list[Floats]] = {name: [] for name in (*numbers, *optional)}
    words: dict[str, list[str]] = {name: [] for name in labels}
    for batch in _batches(path, wanted):
        for name in labels:
            words[name].extend(str(cell).strip() for cell in batch.columns[name])
        for name in (*numbers, *optional):
            if name in batch.columns:
                found[name].append(_numbers(batch, name, name in may_be_blank))
    joined = {name: np.concatenate(parts) for name, parts in found.items() if parts}
    if not joined:
        raise InputError(f"{path}: the file has no rows")
    return Columns(path, joined, {name: np.array(cells) for name, cells in words.items()})


def _batches(path: Path, wanted: Wanted) -> Iterator[Batch]:
    return parquet_batches(path, wanted) if is_parquet(path) else csv_batches(path, wanted)


def _numbers(batch: Batch, column: str, may_be_blank: bool) -> Floats:
    cells = batch.columns[column]
    try:
        values = np.array(cells, dtype=np.float64)
    except (TypeError, ValueError):
        values = None
    if values is not None and np.all(values >= 0) and np.all(np.isfinite(values)):
        return values
    return np.array(
        [_number(batch, column, row, cell, may_be_blank) for row, cell in enumerate(cells)]
    )


def _number(batch: Batch, column: str, row: int, cell: Any, may_be_blank: bool) -> float:
    if may_be_blank and (cell is None or cell == ""):
        return math.nan
    try:
        value = float(exact_number(cell, batch.textual))
    except ValueError as error:
        raise batch.error(row, column, str(error)) from None
    if value < 0:
        raise batch.error(row, column, f"{cell} is negative")
    return value
