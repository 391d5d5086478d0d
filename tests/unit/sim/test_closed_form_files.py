"""OpenDC's files of fragments and tasks; interruptions leave whole ones."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from servetwin.errors import InputError
from servetwin.sim.closed_form import (
    ExportOptions,
    FragmentPlan,
    TaskTimes,
    opendc,
    run_closed_form,
    write_opendc,
)
from servetwin.sim.closed_form.fragments import MILLE
from servetwin.types import Workload
from servetwin.units import PS_PER_S
from support.closed_form import KAVIER, all_of


def plan_of(n: int = 40, rate: float = 0.1) -> tuple[FragmentPlan, TaskTimes]:
    given, made = np.arange(10, 10 + n, dtype=np.int32), np.arange(20, 20 + n, dtype=np.int32)
    workload = Workload(np.arange(n, dtype=np.int64) * PS_PER_S, given, made)
    result = run_closed_form(workload, KAVIER)
    return result.fragments(rate), TaskTimes(workload.arrival, (given + made).astype(np.int64))


def test_files_are_those_of_opendc(tmp_path):
    plan, tasks = plan_of()
    written = write_opendc(tmp_path / "new", plan, tasks, ExportOptions(flush_size=100))
    table = pq.read_table(written.fragments)
    assert table.schema.types == [pa.int32(), pa.duration("ms"), pa.int32(), pa.float64(),
                                  pa.int32(), pa.float64()]  # fmt: skip
    assert table.schema.names == ["id", "duration", "cpu_count", "cpu_usage", "gpu_count",
                                  "gpu_usage"]  # fmt: skip
    expected = all_of(plan)
    assert table["id"].to_pylist() == [row[0] for row in expected]
    assert table["duration"].cast(pa.int64()).to_pylist() == [row[1] for row in expected]
    capacity = 9216 * 1695
    usage = [row[2] / MILLE * capacity for row in expected]
    assert table["gpu_usage"].to_pylist() == pytest.approx(usage, rel=1e-12)
    assert set(table["cpu_usage"].to_pylist()) == {0.0}
    assert pq.ParquetFile(written.fragments).metadata.num_row_groups == -(-len(expected) // 100)
    assert written.fragment_rows == len(expected)


def test_the_cache_is_a_column_where_asked(tmp_path):
    plan, tasks = plan_of(5)
    written = write_opendc(tmp_path, plan, tasks, ExportOptions(kv_usage=True))
    column = pq.read_table(written.fragments)["kv_usage"].to_pylist()
    shares = np.concatenate([batch.kv.copy() for batch in plan.batches(7, kv=True)])
    assert column == pytest.approx((shares * 24e6).tolist())


def test_tasks_have_arrivals_durations_and_tokens(tmp_path):
    plan, tasks = plan_of(3)
    table = pq.read_table(write_opendc(tmp_path, plan, tasks).tasks)
    assert " ".join(table.schema.names) == (
        "id submission_time duration cpu_count cpu_capacity mem_capacity gpu_count "
        "gpu_capacity total_tokens"
    )
    assert table.schema.field("submission_time").type == pa.timestamp("ms")
    first = table.to_pylist()[1]
    assert first["submission_time"].isoformat() == "2026-01-01T00:00:01"
    assert first["duration"] == plan.duration_ms[1]
    assert (first["mem_capacity"], first["gpu_capacity"]) == (24 * 1024, 9216.0 * 1695)
    assert first["total_tokens"] == 11 + 21


def test_no_file_has_more_than_256_groups(tmp_path):
    plan, tasks = plan_of(rate=0.001)
    written = write_opendc(tmp_path, plan, tasks, ExportOptions(flush_size=1))
    groups = pq.ParquetFile(written.fragments).metadata.num_row_groups
    assert plan.total > 50_000
    assert 250 < groups <= 256
    assert "flush size 1 taken as" in written.notes[0]


def test_a_flush_size_beyond_memory_is_lowered(tmp_path):
    plan, tasks = plan_of(3)
    written = write_opendc(tmp_path, plan, tasks, ExportOptions(flush_size=10**12))
    assert written.group_rows == opendc.MOST_ROWS
    assert "too much memory" in written.notes[0]


@pytest.mark.parametrize("size", [0, -5, 2.5, True])
def test_impossible_flush_sizes(size):
    with pytest.raises(InputError, match="flush size"):
        ExportOptions(flush_size=size)


def test_an_interruption_leaves_what_was_written(tmp_path):
    plan, tasks = plan_of()
    said: list[str] = []

    def stop(done: int) -> None:
        if done >= 300:
            raise KeyboardInterrupt

    options = ExportOptions(100, progress=stop, say=said.append)
    with pytest.raises(KeyboardInterrupt):
        write_opendc(tmp_path, plan, tasks, options)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "fragments.partial.parquet", "tasks.partial.parquet"]  # fmt: skip
    table = pq.read_table(tmp_path / "fragments.partial.parquet")
    assert table["id"].to_pylist() == [row[0] for row in all_of(plan)[:300]]
    assert pq.read_table(tmp_path / "tasks.partial.parquet").num_rows == 40
    assert len(said) == 1
    assert "fragments.partial.parquet" in said[0]
    write_opendc(tmp_path, plan, tasks)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "fragments.parquet", "tasks.parquet"]  # fmt: skip


class Interrupting:
    """A file in which Ctrl-C comes during one write, counted from 0 over all files."""

    def __init__(self, file: Any, at: int, seen: list[int]) -> None:
        self.file, self.at, self.seen = file, at, seen

    def write(self, data: Any) -> int:
        self.seen.append(len(data))
        if len(self.seen) == self.at + 1:
            signal.raise_signal(signal.SIGINT)
        return self.file.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def __enter__(self) -> Interrupting:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()


def write_interrupted(folder: Path, at: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """Write with Ctrl-C in write number `at`; return how many writes there were."""
    plan, tasks = plan_of()
    seen: list[int] = []
    before = Path.open
    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", lambda *a: Interrupting(before(*a), at, seen))
        write_opendc(folder, plan, tasks, ExportOptions(200, say=lambda _: None))
    return len(seen)


def test_ctrl_c_in_any_write_leaves_whole_files(tmp_path, monkeypatch):
    plan, _ = plan_of()
    expected = [row[0] for row in all_of(plan)]
    writes = write_interrupted(tmp_path / "none", -1, monkeypatch)
    assert writes > 50
    before = signal.getsignal(signal.SIGINT)
    rows = []
    for at in range(writes):
        folder = tmp_path / str(at)
        with pytest.raises(KeyboardInterrupt):
            write_interrupted(folder, at, monkeypatch)
        assert signal.getsignal(signal.SIGINT) is before
        found = {path.name.partition(".")[0]: pq.read_table(path) for path in folder.iterdir()}
        assert found["tasks"].num_rows == 40
        if "fragments" in found:
            assert found["fragments"]["id"].to_pylist() == expected[: len(found["fragments"])]
        rows.append(len(found.get("fragments", ())))
    assert rows == sorted(rows)
    assert {0, 200, 400, 600, plan.total} == set(rows)


def test_an_interruption_before_the_fragments_removes_those_of_a_former_one(tmp_path, monkeypatch):
    (tmp_path / "fragments.partial.parquet").write_text("of a former run")
    with pytest.raises(KeyboardInterrupt):
        write_interrupted(tmp_path, 0, monkeypatch)
    assert [path.name for path in tmp_path.iterdir()] == ["tasks.partial.parquet"]


def test_a_failure_leaves_the_old_files(tmp_path, monkeypatch):
    plan, tasks = plan_of(2)
    old = write_opendc(tmp_path, plan, tasks).fragments.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(opendc, "_write_fragments", fail)
    with pytest.raises(InputError, match="the disk is full"):
        write_opendc(tmp_path, *plan_of(5))
    assert (tmp_path / "fragments.parquet").read_bytes() == old
    assert pq.read_table(tmp_path / "tasks.parquet").num_rows == 2
    assert len(list(tmp_path.iterdir())) == 2


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(InputError, match=r"cannot write to .*taken"):
        write_opendc(Path(tmp_path / "taken"), *plan_of(2))
