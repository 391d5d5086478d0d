"""`requests.parquet` and `timeline.parquet`: streamed out in row groups, checked on reading.

The column names and their order are part of the format. Times are float64 seconds; what did
not happen, and columns that a run does not have, are null.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from servetwin.errors import InputError
from servetwin.types import RequestTable, RunResult, Status, Timeline, TokenGaps
from servetwin.units import NOT_YET, ps_from_seconds, seconds_from_ps

__all__ = ["read_requests", "read_timeline", "write_requests", "write_timeline"]

ROWS = 1 << 18
"""Rows in one row group, which bounds the memory that writing and reading need."""

COMPRESSION = {"compression": "zstd", "compression_level": 1}
SCHEMA_KEY = b"servetwin.schema"
GAPS_KEY = b"servetwin.token_gaps"
INTERVAL_KEY = b"servetwin.interval_ps"

STATUS = pa.dictionary(pa.int8(), pa.string())
STATUS_NAMES = pa.array([status.name.lower() for status in Status], pa.string())

REQUESTS = pa.schema(
    [
        ("request_id", pa.int64()),
        ("session_id", pa.int32()),
        ("arrival_s", pa.float64()),
        ("sent_s", pa.float64()),
        ("first_scheduled_s", pa.float64()),
        ("first_token_s", pa.float64()),
        ("finish_s", pa.float64()),
        ("input_tokens", pa.int32()),
        ("output_tokens", pa.int32()),
        ("cached_tokens", pa.int32()),
        ("preemptions", pa.int32()),
        ("replica", pa.int32()),
        ("prefill_replica", pa.int32()),
        ("kv_transfer_s", pa.float64()),
        ("status", STATUS),
        ("error_kind", pa.string()),
    ]
)
TIMELINE = pa.schema(
    [
        ("t_s", pa.float64()),
        ("replica", pa.int32()),
        ("running", pa.int32()),
        ("waiting", pa.int32()),
        ("kv_blocks", pa.int64()),
        ("prefill_tokens", pa.int64()),
        ("decode_tokens", pa.int64()),
        ("power_w", pa.float64()),
    ]
)

Columns = dict[str, Any]


def write_requests(run: RunResult, path: Path) -> None:
    """Write one row a request; the histogram of token gaps goes into the file's metadata."""
    table = run.requests

    def columns(rows: slice) -> Columns:
        return {
            "request_id": np.arange(rows.start, rows.stop),
            "session_id": _part(table.session_id, rows),
            "arrival_s": _seconds(table.arrival, rows),
            "sent_s": _seconds(table.sent, rows),
            "first_scheduled_s": _seconds(table.first_scheduled, rows),
            "first_token_s": _seconds(table.first_token, rows),
            "finish_s": _seconds(table.finish, rows),
            "input_tokens": table.input_tokens[rows],
            "output_tokens": table.output_tokens[rows],
            "cached_tokens": _part(table.cached_tokens, rows),
            "preemptions": table.preemptions[rows],
            "replica": _known(table.replica[rows]),
            "status": pa.DictionaryArray.from_arrays(
                pa.array(table.status[rows], pa.int8()), STATUS_NAMES
            ),
        }

    metadata = {SCHEMA_KEY: b"servetwin.requests/1"}
    if run.token_gaps is not None:
        metadata[GAPS_KEY] = _gaps_to_json(run.token_gaps)
    _write(path, REQUESTS.with_metadata(metadata), len(table), columns)


def write_timeline(timeline: Timeline, path: Path) -> None:
    """Write one row an interval and replica."""

    def columns(rows: slice) -> Columns:
        names = ("replica", "running", "waiting", "kv_blocks", "prefill_tokens", "decode_tokens")
        parts = {name: getattr(timeline, name)[rows] for name in names}
        return {"t_s": _seconds(timeline.t, rows), **parts}

    metadata = {
        SCHEMA_KEY: b"servetwin.timeline/1",
        INTERVAL_KEY: str(timeline.interval).encode(),
    }
    _write(path, TIMELINE.with_metadata(metadata), len(timeline), columns)


def read_requests(path: Path) -> tuple[RequestTable, TokenGaps | None]:
    """Read what `write_requests` wrote. Raises InputError."""
    with _Reader(path, REQUESTS) as reader:
        table = RequestTable(
            arrival=reader.times("arrival_s"),
            first_scheduled=reader.times("first_scheduled_s"),
            first_token=reader.times("first_token_s"),
            finish=reader.times("finish_s"),
            input_tokens=reader.whole("input_tokens", np.int32),
            output_tokens=reader.whole("output_tokens", np.int32),
            preemptions=reader.whole("preemptions", np.int32),
            replica=reader.whole("replica", np.int32, null=-1),
            status=reader.status(),
            session_id=reader.optional("session_id"),
            cached_tokens=reader.optional("cached_tokens"),
            sent=None if reader.is_null("sent_s") else reader.times("sent_s"),
        )
        return table, reader.token_gaps()


def read_timeline(path: Path) -> Timeline:
    """Read what `write_timeline` wrote. Raises InputError."""
    with _Reader(path, TIMELINE) as reader:
        t = reader.times("t_s")
        interval = reader.metadata.get(INTERVAL_KEY, b"")
        if not interval.isdigit() or len(interval) > 19:
            raise InputError(f"'{path}' lacks the metadata {INTERVAL_KEY.decode()}")
        names = ("kv_blocks", "prefill_tokens", "decode_tokens")
        return Timeline(
            t=t,
            replica=reader.whole("replica", np.int32),
            running=reader.whole("running", np.int32),
            waiting=reader.whole("waiting", np.int32),
            interval=int(interval),
            **{name: reader.whole(name, np.int64) for name in names},
        )


class _Reader:
    """One Parquet file, read column by column in row groups.

    Every failure to read or understand it becomes an InputError that names file and column.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path = path
        try:
            self.file = pq.ParquetFile(path)
        except FileNotFoundError:
            raise InputError(f"'{path}' is missing") from None
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"'{path}' is not a readable Parquet file: {error}") from None
        self.rows = self.file.metadata.num_rows
        self.metadata = self.file.schema_arrow.metadata or {}
        present = self.file.schema_arrow.names
        missing = [name for name in schema.names if name not in present]
        if missing:
            self.file.close()
            raise InputError(f"'{path}' lacks the column {missing[0]}")

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def times(self, name: str) -> NDArray[np.int64]:
        """Picoseconds, `NOT_YET` for null."""
        out = np.empty(self.rows, np.int64)
        self._fill(name, pa.float64(), out, _picoseconds)
        return out

    def whole(self, name: str, dtype: type[np.integer[Any]], null: int | None = None) -> Any:
        """Whole numbers; `null` for null, which is an error where `null` is None."""

        def convert(array: pa.Array) -> Any:
            if array.null_count and null is None:
                raise ValueError("a value is null")
            return array.fill_null(null).to_numpy() if array.null_count else array.to_numpy()

        out = np.empty(self.rows, dtype)
        self._fill(name, pa.from_numpy_dtype(dtype), out, convert)
        return out

    def optional(self, name: str) -> Any:
        """int32, or None where the whole column is null."""
        return None if self.is_null(name) else self.whole(name, np.int32, null=0)

    def status(self) -> NDArray[np.int8]:
        """Codes of the statuses, which the file holds as names."""
        codes = {name: code for code, name in enumerate(STATUS_NAMES.to_pylist())}

        def convert(array: pa.Array) -> NDArray[np.int8]:
            encoded = array.dictionary_encode()
            unknown = set(encoded.dictionary.to_pylist()) - set(codes)
            if unknown or encoded.null_count:
                raise ValueError(f"{next(iter(unknown), None)!r} is none of {', '.join(codes)}")
            table = [codes[name] for name in encoded.dictionary.to_pylist()]
            return np.asarray(np.asarray(table, np.int8)[encoded.indices.to_numpy()])

        out = np.empty(self.rows, np.int8)
        self._fill("status", pa.string(), out, convert)
        return out

    def is_null(self, name: str) -> bool:
        """Whether every value of a column is null."""
        return bool(sum(array.null_count for array in self._arrays(name)) == self.rows)

    def token_gaps(self) -> TokenGaps | None:
        text = self.metadata.get(GAPS_KEY)
        if text is None:
            return None
        try:
            return _gaps_from_json(text)
        except (ValueError, TypeError, KeyError, IndexError, OverflowError):
            message = f"'{self.path}' has damaged metadata {GAPS_KEY.decode()}"
            raise InputError(message) from None

    def _fill(self, name: str, type_: Any, out: Any, convert: Callable[[Any], Any]) -> None:
        at = 0
        try:
            for array in self._arrays(name):
                out[at : at + len(array)] = convert(array.cast(type_))
                at += len(array)
        except (ValueError, pa.ArrowException) as error:
            raise InputError(f"'{self.path}', column {name}: {error}") from None

    def _arrays(self, name: str) -> Iterator[pa.Array]:
        try:
            for batch in self.file.iter_batches(ROWS, columns=[name]):
                yield batch.column(0)
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"'{self.path}', column {name}: {error}") from None


def _write(path: Path, schema: pa.Schema, rows: int, columns: Callable[[slice], Columns]) -> None:
    with path.open("wb") as file, pq.ParquetWriter(file, schema, **COMPRESSION) as writer:
        for start in range(0, rows, ROWS):
            part = slice(start, min(start + ROWS, rows))
            given = columns(part)
            arrays = [
                pa.nulls(part.stop - part.start, field.type)
                if given.get(field.name) is None
                else pa.array(given[field.name], field.type)
                for field in schema
            ]
            writer.write_batch(pa.record_batch(arrays, schema=schema), row_group_size=ROWS)


def _part(column: NDArray[Any] | None, rows: slice) -> NDArray[Any] | None:
    return None if column is None else column[rows]


def _known(values: NDArray[np.int32]) -> pa.Array:
    return pa.array(values, mask=values < 0)


def _seconds(column: NDArray[np.int64] | None, rows: slice) -> pa.Array | None:
    if column is None:
        return None
    part = column[rows]
    return pa.array(seconds_from_ps(part), mask=part == NOT_YET)


def _picoseconds(array: pa.Array) -> NDArray[np.int64]:
    seconds = array.fill_null(-1.0).to_numpy()
    times = ps_from_seconds(seconds)
    absent = array.is_null().to_numpy(zero_copy_only=False)
    if np.any((times < 0) & ~absent):
        raise ValueError("a time is negative")
    times[absent] = NOT_YET
    return times


def _gaps_to_json(token_gaps: TokenGaps) -> bytes:
    bins = np.flatnonzero(token_gaps.counts)
    pairs = {"bins": bins.tolist(), "counts": token_gaps.counts[bins].tolist()}
    return json.dumps(pairs).encode()


def _gaps_from_json(text: bytes) -> TokenGaps:
    pairs = json.loads(text)
    counts = np.zeros(TokenGaps.BINS, dtype=np.int64)
    bins = np.asarray(pairs["bins"], dtype=np.int64)
    if bins.size and bins.min() < 0:
        raise ValueError("a bin is negative")
    counts[bins] = np.asarray(pairs["counts"], dtype=np.int64)
    if counts.min() < 0:
        raise ValueError("a count is negative")
    return TokenGaps(counts)
