"""OpenDC's workload files: tasks.parquet and fragments.parquet, written row group by row group."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from servetwin.errors import InputError
from servetwin.results.interruption import between_steps
from servetwin.results.output import writing_to
from servetwin.sim.closed_form.fragments import MILLE, FragmentPlan
from servetwin.sim.closed_form.model import Device
from servetwin.units import PS_PER_MS

__all__ = ["ExportOptions", "Exported", "TaskTimes", "write_opendc"]

Ints = NDArray[np.int64]

ORIGIN_MS = 1_767_225_600_000
"""Submission time of arrival 0: 2026-01-01 00:00 UTC, so that equal runs write equal files."""

MOST_GROUPS = 256
"""Row groups of one file: each costs time and a place in the footer, which is held in memory."""

MOST_ROWS = 1 << 18
"""Rows held at once, whatever the flush size."""

CPU_COUNT, CPU_CAPACITY, GPU_COUNT = 1, 1000.0, 1
"""A task has one CPU that idles and one GPU, as Kavier writes it."""


def _say_on_stderr(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class ExportOptions:
    """How the files are written."""

    flush_size: int = 1 << 16
    """Rows of fragments written at a time; raised where the file would have over 256 groups."""
    kv_usage: bool = False
    """Add a column OpenDC does not know: the KV cache in bytes of one GPU, to a thousandth of
    its memory."""
    progress: Callable[[int], None] | None = None
    """Told the number of fragments written so far."""
    say: Callable[[str], None] = _say_on_stderr
    """Told where an interrupted run left what it had finished."""

    def __post_init__(self) -> None:
        size = self.flush_size
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise InputError(f"flush size {size}: a whole number of rows, 1 or more, is needed")


@dataclass(frozen=True)
class TaskTimes:
    """What tasks.parquet holds beside durations: arrivals (ps) and tokens of each request."""

    arrival: Ints
    tokens: Ints


@dataclass(frozen=True)
class Exported:
    """The files that lie there now."""

    tasks: Path
    fragments: Path
    task_rows: int
    fragment_rows: int
    group_rows: int
    notes: tuple[str, ...] = field(default_factory=tuple)


_DEFAULTS = ExportOptions()


def write_opendc(
    folder: Path, plan: FragmentPlan, tasks: TaskTimes, options: ExportOptions = _DEFAULTS
) -> Exported:
    """Write both files into `folder`, under temporary names until they are complete.

    Ctrl-C is taken between two row groups. It leaves `tasks.partial.parquet` and
    `fragments.partial.parquet` with the rows written by then, and KeyboardInterrupt goes on.
    Raises InputError where writing fails.
    """
    rows = min(MOST_ROWS, max(options.flush_size, -(-plan.total // MOST_GROUPS)))
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with (
            between_steps() as take_ctrl_c,
            _both(folder, options.say) as (task_file, fragment_file),
        ):
            _write_tasks(task_file, plan, tasks, take_ctrl_c)

            def written(done: int) -> None:
                if options.progress:
                    options.progress(done)
                take_ctrl_c()

            _write_fragments(fragment_file, plan, rows, replace(options, progress=written))
    notes = () if rows == options.flush_size else (_regrouped(options.flush_size, rows),)
    return Exported(
        tasks=folder / "tasks.parquet",
        fragments=folder / "fragments.parquet",
        task_rows=plan.counts.size,
        fragment_rows=plan.total,
        group_rows=rows,
        notes=notes,
    )


def _regrouped(wanted: int, rows: int) -> str:
    why = f"more than {MOST_GROUPS} row groups" if rows > wanted else "too much memory"
    return f"flush size {wanted:,} taken as {rows:,}: it would need {why}"


@contextmanager
def _both(folder: Path, say: Callable[[str], None]) -> Iterator[tuple[Path, Path]]:
    """Yield the temporary paths; rename them as the block's end deserves."""
    names = ("tasks", "fragments")
    written = [folder / f".servetwin-partial-{name}.parquet" for name in names]
    try:
        yield written[0], written[1]
        for path, name in zip(written, names, strict=True):
            path.replace(folder / f"{name}.parquet")
            (folder / f"{name}.partial.parquet").unlink(missing_ok=True)
    except KeyboardInterrupt:
        kept = []
        for path, name in zip(written, names, strict=True):
            (folder / f"{name}.partial.parquet").unlink(missing_ok=True)
            if path.exists():
                path.replace(folder / f"{name}.partial.parquet")
                kept.append(f"{name}.partial.parquet")
        say(f"interrupted: '{folder}' holds what was written so far in {' and '.join(kept)}")
        raise
    finally:
        for path in written:
            path.unlink(missing_ok=True)


def _write_tasks(
    path: Path, plan: FragmentPlan, tasks: TaskTimes, written: Callable[[], None]
) -> None:
    """Write row group by row group, and call `written` after each."""
    import pyarrow as pa

    device, schema = plan.model.device, _task_schema()
    with _writer(path, schema, ("id", "submission_time", "duration", "total_tokens")) as writer:
        for start in range(0, plan.counts.size, MOST_ROWS):
            rows = slice(start, start + MOST_ROWS)
            duration = plan.duration_ms[rows]
            submitted = ORIGIN_MS + tasks.arrival[rows] // PS_PER_MS
            columns = {
                "id": np.arange(start, start + duration.size, dtype=np.int32),
                "submission_time": pa.array(submitted).cast(pa.timestamp("ms")),
                "duration": duration,
                **_constants(device, duration.size),
                "total_tokens": tasks.tokens[rows],
            }
            arrays = [pa.array(columns[field.name], field.type) for field in schema]
            writer.write_batch(pa.record_batch(arrays, schema=schema))
            written()


def _constants(device: Device, rows: int) -> dict[str, Any]:
    return {
        "cpu_count": np.full(rows, CPU_COUNT),
        "cpu_capacity": np.full(rows, CPU_CAPACITY),
        "mem_capacity": np.full(rows, device.memory_mib),
        "gpu_count": np.full(rows, GPU_COUNT),
        "gpu_capacity": np.full(rows, device.capacity),
    }


def _write_fragments(path: Path, plan: FragmentPlan, rows: int, options: ExportOptions) -> None:
    import pyarrow as pa

    schema = _fragment_schema(options.kv_usage)
    device = plan.model.device
    usage = np.arange(MILLE + 1) / MILLE * device.capacity
    cpu_count = pa.array(np.full(rows, CPU_COUNT, np.int32))
    cpu_usage = pa.array(np.zeros(rows))
    gpu_count = pa.array(np.full(rows, GPU_COUNT, np.int32))
    done = 0
    with _writer(path, schema, ("id",)) as writer:
        for batch in plan.batches(rows, kv=options.kv_usage):
            n = len(batch)
            arrays = [
                pa.array(batch.task),
                pa.array(batch.duration_ms).view(pa.duration("ms")),
                cpu_count[:n],
                cpu_usage[:n],
                gpu_count[:n],
                pa.array(usage[batch.usage]),
            ]
            if batch.kv is not None:
                arrays.append(pa.array(batch.kv * (device.memory / MILLE)))
            writer.write_batch(pa.record_batch(arrays, schema=schema), row_group_size=rows)
            done += n
            if options.progress:
                options.progress(done)


@contextmanager
def _writer(path: Path, schema: Any, delta: tuple[str, ...]) -> Iterator[Any]:
    """Open a Parquet writer that is closed, with its footer, however the block ends.

    Columns named in `delta` hold differences, all others few values: dictionaries.
    """
    import pyarrow.parquet as pq

    with (
        path.open("wb") as file,
        pq.ParquetWriter(
            file,
            schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=[name for name in schema.names if name not in delta],
            column_encoding=dict.fromkeys(delta, "DELTA_BINARY_PACKED"),
            write_statistics=False,
        ) as writer,
    ):
        yield writer


def _task_schema() -> Any:
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("id", pa.int32(), False),
            pa.field("submission_time", pa.timestamp("ms"), False),
            pa.field("duration", pa.int64(), False),
            pa.field("cpu_count", pa.int32(), False),
            pa.field("cpu_capacity", pa.float64(), False),
            pa.field("mem_capacity", pa.int64(), False),
            pa.field("gpu_count", pa.int32(), True),
            pa.field("gpu_capacity", pa.float64(), True),
            pa.field("total_tokens", pa.int64(), True),
        ]
    )


def _fragment_schema(kv_usage: bool) -> Any:
    import pyarrow as pa

    schema = pa.schema(
        [
            pa.field("id", pa.int32(), False),
            pa.field("duration", pa.duration("ms"), False),
            pa.field("cpu_count", pa.int32(), False),
            pa.field("cpu_usage", pa.float64(), False),
            pa.field("gpu_count", pa.int32(), True),
            pa.field("gpu_usage", pa.float64(), True),
        ]
    )
    return schema.append(pa.field("kv_usage", pa.float64(), True)) if kv_usage else schema
