"""`requests.parquet` and `timeline.parquet`: streamed out in row groups, checked on reading.

The column names and their order are part of the format. Times are float64 seconds; what did
not happen, and columns that a run does not have, are null.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from servetwin.errors import InputError
from servetwin.results.parquet import SCHEMA_KEY, Columns, Reader, write
from servetwin.types import RequestTable, RunResult, Status, Timeline, TokenGaps
from servetwin.units import NOT_YET, seconds_from_ps

__all__ = ["read_requests", "read_timeline", "write_requests", "write_timeline"]

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
        ("prefill_s", pa.float64()),
        ("decode_s", pa.float64()),
        ("preempted_s", pa.float64()),
    ],
    metadata={SCHEMA_KEY: b"servetwin.requests/1"},
)
COMPLETION = pa.field("completion_us", pa.float64())
HANDOVER = pa.field("handover_s", pa.float64())
HANDOVER_TRANSFER = pa.field("handover_transfer_s", pa.float64())
RETRIES = pa.field("retries", pa.int32())
PRIORITY = pa.field("priority", pa.int32())
PREFILL_WAIT = pa.field("prefill_stage_wait_s", pa.float64())
DECODE_WAIT = pa.field("decode_stage_wait_s", pa.float64())
PREFILL_OUTAGE = pa.field("prefill_outage_s", pa.float64())
DECODE_OUTAGE = pa.field("decode_outage_s", pa.float64())
FRONTEND = pa.field("frontend_s", pa.float64())
"""Last columns, only of runs that have them."""

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
        ("iterations", pa.int64()),
        ("context_tokens", pa.int64()),
    ],
    metadata={SCHEMA_KEY: b"servetwin.timeline/1"},
)


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
            "prefill_replica": _known(_part(table.prefill_replica, rows)),
            "kv_transfer_s": _seconds(table.kv_transfer, rows),
            "prefill_s": _seconds(table.prefill_time, rows),
            "decode_s": _seconds(table.decode_time, rows),
            "preempted_s": _seconds(table.preempted_time, rows),
            "status": pa.DictionaryArray.from_arrays(
                pa.array(table.status[rows], pa.int8()), STATUS_NAMES
            ),
            COMPLETION.name: _part(table.completion_us, rows),
            HANDOVER.name: _seconds(table.handover, rows),
            HANDOVER_TRANSFER.name: _seconds(table.handover_transfer, rows),
            RETRIES.name: _part(table.retries, rows),
            PRIORITY.name: _part(table.priority, rows),
            PREFILL_WAIT.name: _seconds(table.prefill_stage_wait, rows),
            DECODE_WAIT.name: _seconds(table.decode_stage_wait, rows),
            PREFILL_OUTAGE.name: _seconds(table.prefill_outage, rows),
            DECODE_OUTAGE.name: _seconds(table.decode_outage, rows),
            FRONTEND.name: _seconds(table.frontend_time, rows),
        }

    metadata = dict(REQUESTS.metadata)
    if run.token_gaps is not None:
        metadata[GAPS_KEY] = _gaps_to_json(run.token_gaps)
    schema = REQUESTS
    for field, column in (
        (COMPLETION, table.completion_us),
        (HANDOVER, table.handover),
        (HANDOVER_TRANSFER, table.handover_transfer),
        (RETRIES, table.retries),
        (PRIORITY, table.priority),
        (PREFILL_WAIT, table.prefill_stage_wait),
        (DECODE_WAIT, table.decode_stage_wait),
        (PREFILL_OUTAGE, table.prefill_outage),
        (DECODE_OUTAGE, table.decode_outage),
        (FRONTEND, table.frontend_time),
    ):
        schema = schema if column is None else schema.append(field)
    write(path, schema.with_metadata(metadata), len(table), columns)


def write_timeline(timeline: Timeline, path: Path) -> None:
    """Write one row an interval and replica."""

    def columns(rows: slice) -> Columns:
        names = ("replica", "running", "waiting", "kv_blocks", "prefill_tokens", "decode_tokens")
        extra = ("iterations", "context_tokens", "power_w")
        parts = {name: _part(getattr(timeline, name), rows) for name in (*names, *extra)}
        return {"t_s": _seconds(timeline.t, rows), **parts}

    metadata = {**TIMELINE.metadata, INTERVAL_KEY: str(timeline.interval).encode()}
    write(path, TIMELINE.with_metadata(metadata), len(timeline), columns)


def read_requests(path: Path) -> tuple[RequestTable, TokenGaps | None]:
    """Read what `write_requests` wrote. Raises InputError."""
    with Reader(path, REQUESTS) as reader:
        table = RequestTable(
            arrival=reader.times("arrival_s"),
            first_scheduled=reader.times("first_scheduled_s"),
            first_token=reader.times("first_token_s"),
            finish=reader.times("finish_s"),
            input_tokens=reader.whole("input_tokens", np.int32),
            output_tokens=reader.whole("output_tokens", np.int32),
            preemptions=reader.whole("preemptions", np.int32),
            replica=reader.whole("replica", np.int32, null=-1),
            status=reader.codes("status", STATUS_NAMES.to_pylist()),
            session_id=reader.optional("session_id"),
            cached_tokens=reader.optional("cached_tokens"),
            sent=reader.optional_times("sent_s"),
            kv_transfer=reader.optional_times("kv_transfer_s"),
            prefill_time=reader.optional_times("prefill_s"),
            decode_time=reader.optional_times("decode_s"),
            preempted_time=reader.optional_times("preempted_s"),
            completion_us=reader.numbers(COMPLETION.name) if reader.has(COMPLETION.name) else None,
            prefill_replica=reader.optional("prefill_replica", null=-1),
            handover=_times(reader, HANDOVER.name),
            handover_transfer=_times(reader, HANDOVER_TRANSFER.name),
            retries=reader.optional(RETRIES.name) if reader.has(RETRIES.name) else None,
            priority=reader.optional(PRIORITY.name) if reader.has(PRIORITY.name) else None,
            prefill_stage_wait=_times(reader, PREFILL_WAIT.name),
            decode_stage_wait=_times(reader, DECODE_WAIT.name),
            prefill_outage=_times(reader, PREFILL_OUTAGE.name),
            decode_outage=_times(reader, DECODE_OUTAGE.name),
            frontend_time=_times(reader, FRONTEND.name),
        )
        return table, _token_gaps(path, reader.metadata)


def read_timeline(path: Path) -> Timeline:
    """Read what `write_timeline` wrote. Raises InputError."""
    with Reader(path, TIMELINE) as reader:
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
            iterations=reader.optional("iterations", np.int64),
            context_tokens=reader.optional("context_tokens", np.int64),
            power_w=reader.numbers("power_w"),
            **{name: reader.whole(name, np.int64) for name in names},
        )


def _part(column: NDArray[Any] | None, rows: slice) -> NDArray[Any] | None:
    return None if column is None else column[rows]


def _known(values: NDArray[np.int32] | None) -> pa.Array | None:
    return None if values is None else pa.array(values, mask=values < 0)


def _times(reader: Reader, name: str) -> NDArray[np.int64] | None:
    return reader.optional_times(name) if reader.has(name) else None


def _seconds(column: NDArray[np.int64] | None, rows: slice) -> pa.Array | None:
    if column is None:
        return None
    part = column[rows]
    return pa.array(seconds_from_ps(part), mask=part == NOT_YET)


def _token_gaps(path: Path, metadata: dict[bytes, bytes]) -> TokenGaps | None:
    text = metadata.get(GAPS_KEY)
    if text is None:
        return None
    try:
        return _gaps_from_json(text)
    except (ValueError, TypeError, KeyError, IndexError, OverflowError):
        raise InputError(f"'{path}' has damaged metadata {GAPS_KEY.decode()}") from None


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
