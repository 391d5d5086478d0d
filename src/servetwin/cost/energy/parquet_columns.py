"""Columns of numbers from Parquet files that others wrote: OpenDC's, and Kavier's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from servetwin.errors import InputError, nearest

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["number_columns"]

Floats = NDArray[np.float64]

LARGEST = 1e18
"""More is taken for a broken file, so that sums stay finite."""


def number_columns(
    path: Path, what: str, required: Sequence[str], optional: Sequence[str] = ()
) -> Iterator[dict[str, Floats]]:
    """Yield the columns by name, some thousand rows at a time. Durations are in milliseconds.

    Of the optional columns, one that is not there is 0 throughout, and so is a value that is
    missing. Raises InputError for a file that is missing or broken (`what` it should be), a
    required column that it lacks, and values that are no numbers from 0 to LARGEST.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise InputError(f"'{path}': no such file; expected {what}")
    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            present = _present(path, schema, required, optional)
            first = 0
            for batch in file.iter_batches(columns=present):
                absent = np.zeros(batch.num_rows)
                columns = dict.fromkeys(optional, absent)
                for name in present:
                    column = batch.column(name)
                    if name in optional:
                        column = column.fill_null(0)
                    columns[name] = _numbers(path, name, column, first)
                yield columns
                first += batch.num_rows
    except (pa.ArrowException, OSError, ValueError) as error:
        if "magic bytes" in str(error):
            raise InputError(f"'{path}' is not a Parquet file; expected {what}") from None
        detail = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise InputError(f"'{path}' is not a readable Parquet file: {detail}") from None


def _present(
    path: Path, schema: pa.Schema, required: Sequence[str], optional: Sequence[str]
) -> list[str]:
    """Return the columns that are there, once those that must be have been looked for."""
    import pyarrow as pa

    names = schema.names
    for name in required:
        if name not in names:
            hint = nearest(name, names) or f"it has {', '.join(names)[:200] or 'none'}"
            raise InputError(f"'{path}' has no column {name}: {hint}")
    present = [name for name in (*required, *optional) if name in names]
    kinds = pa.types
    for name in present:
        if names.count(name) > 1:
            raise InputError(f"'{path}' has {names.count(name)} columns {name}, expected one")
        kind = schema.field(name).type
        if not (kinds.is_integer(kind) or kinds.is_floating(kind) or kinds.is_duration(kind)):
            raise InputError(f"'{path}', column {name}: {kind}, expected numbers")
    return present


def _numbers(path: Path, name: str, column: Any, first: int) -> Floats:
    """Convert a column, whose first row is number `first` of the file."""
    import pyarrow as pa

    if pa.types.is_duration(column.type):
        column = column.cast(pa.duration("ms"), safe=False).cast(pa.int64())
    values = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    wrong = ~((values >= 0) & (values <= LARGEST))
    if wrong.any():
        at = int(np.argmax(wrong))
        raise InputError(
            f"'{path}', column {name}, row {first + at}: {values[at]:g}, expected a number from 0 "
            f"to {LARGEST:g}"
        )
    return np.asarray(values)
