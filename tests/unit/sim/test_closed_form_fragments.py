"""Fragments against a plain loop, and the files they are written to."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servetwin.errors import InputError
from servetwin.sim.closed_form import (
    ExportOptions,
    FragmentPlan,
    Kavier,
    TaskTimes,
    find_kavier_gpu,
    find_kavier_model,
    fragments,
    opendc,
    plan_fragments,
    run_closed_form,
    write_opendc,
)
from servetwin.sim.closed_form.fragments import MILLE
from servetwin.sim.closed_form.model import CacheSize, Phases, Requests
from servetwin.types import Workload
from servetwin.units import PS_PER_MS, PS_PER_S

KAVIER = Kavier(find_kavier_model("Llama-3-8B"), find_kavier_gpu("A10"))


def requests_of(*milliseconds: tuple[int, int]) -> Requests:
    """Rows of (prefill, decode) in thousandths of a millisecond."""
    prefill, decode = (np.array(c, np.int64) * PS_PER_MS // 1000
                       for c in zip(*milliseconds, strict=True))  # fmt: skip
    return Requests(prefill // PS_PER_MS + 1, decode // PS_PER_MS + 1, prefill, decode)


def all_of(plan: FragmentPlan, rows: int = 1000) -> list[tuple[int, int, int]]:
    found = []
    for batch in plan.batches(rows):
        assert len(batch) <= rows
        found += zip(batch.task.tolist(), batch.duration_ms.tolist(), batch.usage.tolist(),
                     strict=True)  # fmt: skip
    return found


def by_hand(requests: Requests, step_ms: int) -> list[tuple[int, int, int]]:
    """The original's loop: one request, one fragment after the other."""
    rows = []
    for task, (prefill, decode) in enumerate(zip(requests.prefill, requests.decode, strict=True)):
        total = int(prefill + decode)
        total_ms = max(1, (total + PS_PER_MS // 2) // PS_PER_MS)
        count = max(1, total_ms // step_ms)
        for number in range(count):
            at = number * step_ms * PS_PER_MS
            edge = at < PS_PER_S // 5 or at >= total - PS_PER_S // 5
            last = total_ms - number * step_ms
            rows.append((task, last if number == count - 1 else step_ms, 500 if edge else 950))
    return rows


@given(
    st.lists(st.tuples(st.integers(0, 900_000), st.integers(0, 2_000_000)), min_size=1, max_size=8),
    st.sampled_from([1, 7, 100, 200, 1000, 60_000]),
    st.integers(1, 50),
)
def test_fragments_are_those_of_the_loop(times, step_ms, rows):
    requests = requests_of(*times)
    plan = plan_fragments(KAVIER, requests, step_ms / 1000)
    found = all_of(plan, rows * 20)
    assert found == by_hand(requests, step_ms)
    assert len(found) == plan.total
    durations = np.zeros(len(times), np.int64)
    np.add.at(durations, [row[0] for row in found], [row[1] for row in found])
    np.testing.assert_array_equal(durations, plan.duration_ms)


def test_requests_beyond_one_portion_keep_their_numbers(monkeypatch):
    requests = requests_of(*[(400_000 + 1000 * i, 900_000) for i in range(23)])
    whole = all_of(plan_fragments(KAVIER, requests, 0.1))
    monkeypatch.setattr(fragments, "REQUESTS_AT_ONCE", 4)
    assert all_of(plan_fragments(KAVIER, requests, 0.1), rows=5) == whole


class Ramp:
    """Utilisation 0.2 in the prefill, then from 0.5 down to 0.3."""

    device = KAVIER.device
    cache = CacheSize(0.0)

    def phases(self, requests: Requests, kv_cache: bool = True) -> Phases:
        assert kv_cache

        def level(value: float) -> np.ndarray:
            return np.full(requests.prefill.size, value)

        end = requests.prefill + requests.decode
        return Phases(requests.prefill, end, level(0.2), level(0.5), level(0.3), level(0.3))


def test_utilisation_follows_its_line():
    plan = plan_fragments(Ramp(), requests_of((250_000, 2_000_000)), 0.1)
    usage = [row[2] for row in all_of(plan)]
    assert usage[:4] == [200, 200, 200, 500]
    assert usage[3:] == pytest.approx([500 - 10 * i for i in range(19)], abs=1)


@pytest.mark.parametrize(
    "rate", [0, -1, float("nan"), float("inf"), 1e-9, 0.0015, 1e9, float("-inf")]
)
def test_impossible_rates(rate):
    with pytest.raises(InputError, match="export rate") as error:
        plan_fragments(KAVIER, requests_of((1, 1)), rate)
    assert "\n" not in str(error.value)


def test_too_many_fragments():
    weeks = np.full(30, 10**6 * PS_PER_S)
    requests = Requests(weeks, weeks, weeks, 0 * weeks)
    with pytest.raises(InputError, match="raise the rate"):
        plan_fragments(KAVIER, requests, 0.001)
    assert plan_fragments(KAVIER, requests, 1).total == 30 * 10**6


@given(st.lists(st.tuples(st.integers(0, 900_000), st.integers(0, 2_000_000)), min_size=1,
                max_size=6), st.integers(1, 40))  # fmt: skip
def test_the_cache_grows_with_the_tokens(times, rows):
    requests = requests_of(*times)
    requests = replace(requests, input_tokens=requests.input_tokens * 9000)
    plan = plan_fragments(KAVIER, requests, 0.1)
    found = np.concatenate([b.kv.copy() for b in plan.batches(rows, kv=True)])
    token = KAVIER.cache.token / KAVIER.device.memory * MILLE
    at = 0
    for row, count in enumerate(plan.counts.tolist()):
        prefill, whole = requests.prefill[row], requests.prefill[row] + requests.decode[row]
        given_tokens = requests.input_tokens[row]
        tokens = np.interp(
            np.arange(count) * 100.0 * PS_PER_MS,
            [0, prefill, whole],
            [0 if prefill else given_tokens, given_tokens,
             given_tokens + requests.output_tokens[row]],
        )  # fmt: skip
        expected = np.minimum(tokens * token, 65535)
        np.testing.assert_allclose(found[at : at + count], expected, atol=1.01)
        at += count


class Windowed:
    """A million bytes a token; half as much within a window of 100; ten million to begin with."""

    cache = CacheSize(1e6, 5e5, 100, 1e7)
    device = replace(KAVIER.device, memory=1e9)
    phases = KAVIER.phases


def test_a_window_bends_the_growth_of_the_cache():
    requests = Requests(*(np.array([value], np.int64) for value in (
        80, 60, 8 * 100 * PS_PER_MS, 60 * 100 * PS_PER_MS)))  # fmt: skip
    plan = plan_fragments(Windowed(), requests, 0.1)
    found = np.concatenate([batch.kv.copy() for batch in plan.batches(7, kv=True)])
    tokens = [10 * i for i in range(8)] + [80 + i for i in range(60)]
    expected = [n and 10 + n + min(n, 100) // 2 for n in tokens]
    np.testing.assert_allclose(found, expected, atol=1.01)


def test_without_kv_cache_nothing_is_held():
    plan = plan_fragments(KAVIER, requests_of((300_000, 900_000)), 0.1, kv_cache=False)
    assert not next(plan.batches(100, kv=True)).kv.any()


# files


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
