"""Parquet -> batches of Python values."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from servetwin.errors import InputError
from servetwin.workload.parsing.batch import Batch, Wanted
from servetwin.workload.parsing.csv_table import missing_column
from servetwin.workload.parsing.text import check_file, unreadable

__all__ = ["is_parquet", "parquet_batches", "parquet_schema", "parquet_table"]


def is_parquet(path: Path) -> bool:
    """Whether the file begins as Parquet files do; raises InputError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(4) == b"PAR1"
    except OSError as error:
        raise unreadable(path, error) from None


def parquet_schema(path: Path) -> tuple[list[str], dict[bytes, bytes]]:
    """Return the column names and the key-value metadata of the schema."""
    with _opened(path) as file:
        schema = file.schema_arrow
        return list(schema.names), dict(schema.metadata or {})


def parquet_batches(path: Path, wanted: Wanted) -> Iterator[Batch]:
    """Yield the wanted columns; timestamps come as ISO text, rows count from 1."""
    import pyarrow as pa

    with _opened(path) as file:
        present = _present(path, list(file.schema_arrow.names), wanted)
        row = 1
        try:
            for part in file.iter_batches(batch_size=wanted.rows, columns=present):
                columns = {name: _values(part.column(name)) for name in present}
                places = range(row, row + part.num_rows)
                row += part.num_rows
                yield Batch(str(path), places, columns, place_format=": row {}", noun="column")
        except (pa.ArrowException, OSError, ValueError) as error:
            raise _broken(path, error) from None


def parquet_table(path: Path) -> Any:
    """Return the whole file as an Arrow table."""
    import pyarrow as pa

    with _opened(path) as file:
        try:
            return file.read()
        except (pa.ArrowException, OSError, ValueError) as error:
            raise _broken(path, error) from None


def _present(path: Path, names: list[str], wanted: Wanted) -> list[str]:
    for name in wanted.required:
        if name not in names:
            raise missing_column(str(path), "column", name, names)
    present = [name for name in (*wanted.required, *wanted.optional) if name in names]
    for name in present:
        if names.count(name) > 1:
            raise InputError(f"{path}: column '{name}' appears {names.count(name)} times")
    return present


def _values(column: Any) -> list[Any]:
    import pyarrow as pa

    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        column = column.cast(pa.string())
    values: list[Any] = column.to_pylist()
    return values


def _opened(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    check_file(path)
    if not is_parquet(path):
        raise InputError(f"{path}: not a Parquet file")
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _broken(path, error) from None


def _broken(path: Path, error: Exception) -> InputError:
    detail = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
    return InputError(f"{path}: not a readable Parquet file ({detail}); was the file cut?")
