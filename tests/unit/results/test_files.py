"""Run folders: exact round trips, and nothing half-written whatever goes wrong."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servetwin.cache.tiers import TierTraffic
from servetwin.errors import InputError
from servetwin.results import Slo, compute, read_run, summary, write_run
from servetwin.types import RunResult, Status, TokenGaps
from servetwin.units import PS_PER_S, seconds_from_ps
from support.runs import Shape, request_table, synthetic_run

REQUEST_COLUMNS = [
    "request_id",
    "session_id",
    "arrival_s",
    "sent_s",
    "first_scheduled_s",
    "first_token_s",
    "finish_s",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "preemptions",
    "replica",
    "prefill_replica",
    "kv_transfer_s",
    "status",
    "error_kind",
]
TIMELINE_COLUMNS = [
    "t_s",
    "replica",
    "running",
    "waiting",
    "kv_blocks",
    "prefill_tokens",
    "decode_tokens",
    "power_w",
]


def assert_same(one: object, other: object) -> None:
    """Compare two records of columns, dtypes included."""
    for field in fields(one):  # type: ignore[arg-type]
        left, right = getattr(one, field.name), getattr(other, field.name)
        if isinstance(left, np.ndarray):
            assert left.dtype == right.dtype, field.name
            assert np.array_equal(left, right), field.name
        else:
            assert left == right, field.name


def test_a_run_comes_back_as_it_was(tmp_path: Path) -> None:
    run = synthetic_run()
    write_run(run, tmp_path / "new" / "run", slo=Slo(ttft=PS_PER_S))
    back = read_run(tmp_path / "new" / "run")
    assert_same(run.requests, back.requests)
    assert_same(run.timeline, back.timeline)
    assert_same(run.token_gaps, back.token_gaps)
    assert (run.config, run.workload) == (back.config, back.workload)
    assert run.provenance == back.provenance
    assert run.kv_peak_blocks == back.kv_peak_blocks
    assert compute(run) == compute(back)
    first = summary(back)
    assert first == summary(run) | {"notes": first["notes"]}
    assert len(set(first["notes"])) == len(first["notes"])


def test_tiers_come_back(tmp_path: Path) -> None:
    n = 3
    table = request_table(arrival=[0] * n, finish=[9] * n, kv_transfer=np.array([0, 7, 10**12]))
    stated = [TierTraffic("host", 9, 2, 5, 1, 4).stated(block_bytes=1000.0)]
    run = synthetic_run(requests=table, timeline=None, token_gaps=None, kv_tiers=stated)
    write_run(run, tmp_path)
    back = read_run(tmp_path)
    assert_same(table, back.requests)
    assert back.kv_tiers == stated
    assert stated[0]["read_bytes"] == 5000


def test_a_measured_run_keeps_its_own_columns(tmp_path: Path) -> None:
    table = request_table(
        arrival=[0, 5, -1],
        first_token=[9, -1, -1],
        finish=[12, -1, -1],
        sent=[1, -1, -1],
        session_id=np.array([4, 4, 5], np.int32),
        cached_tokens=np.array([0, 7, 0], np.int32),
        replica=np.array([0, -1, -1], np.int32),
        status=np.array([0, Status.TIMEOUT, Status.UNFINISHED], np.int8),
    )
    run = synthetic_run(kind="measured", requests=table, timeline=None, token_gaps=None)
    write_run(run, tmp_path)
    back = read_run(tmp_path)
    assert_same(table, back.requests)
    assert back.timeline is None
    assert back.token_gaps is None


@given(st.lists(st.integers(-1, 2**53), min_size=1, max_size=20))
def test_seconds_survive_a_second_round_trip(
    tmp_path_factory: pytest.TempPathFactory, times: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("run")
    run = synthetic_run(requests=request_table(arrival=times), timeline=None)
    write_run(run, folder)
    back = read_run(folder).requests.arrival
    assert np.array_equal(seconds_from_ps(times), seconds_from_ps(back), equal_nan=True)
    small = np.array(times) < 4096 * PS_PER_S
    assert np.array_equal(np.array(times)[small], back[small])


def test_columns_are_those_of_the_format(tmp_path: Path) -> None:
    write_run(synthetic_run(), tmp_path)
    requests = pq.read_table(tmp_path / "requests.parquet")
    attributed = ["prefill_s", "decode_s", "preempted_s"]
    assert requests.column_names == [*REQUEST_COLUMNS, *attributed]
    assert requests["status"].to_pylist()[-4:] == ["ok", "rejected", "rejected", "rejected"]
    assert requests["first_token_s"].null_count == requests["replica"].null_count == 3
    assert requests["sent_s"].null_count == requests.num_rows
    assert pa.types.is_dictionary(requests["status"].type)
    timeline = pq.read_table(tmp_path / "timeline.parquet")
    assert timeline.column_names == [*TIMELINE_COLUMNS, "iterations", "context_tokens"]


def test_several_row_groups_join_up(tmp_path: Path) -> None:
    n = 300_000
    arrival = np.arange(n) * 7
    run = synthetic_run(requests=request_table(arrival=arrival), timeline=None, token_gaps=None)
    write_run(run, tmp_path)
    assert pq.ParquetFile(tmp_path / "requests.parquet").num_row_groups == 2
    assert np.array_equal(read_run(tmp_path).requests.arrival, arrival)
    ids = pq.read_table(tmp_path / "requests.parquet")["request_id"].to_numpy()
    assert np.array_equal(ids, np.arange(n))


def test_files_of_somebody_else_stay(tmp_path: Path) -> None:
    """Without a summary.json the folder holds no earlier run, whatever its files are called."""
    (tmp_path / "trace.json").write_text("mine")
    write_run(synthetic_run(), tmp_path)
    assert (tmp_path / "trace.json").read_text() == "mine"


def test_files_of_an_earlier_run_do_not_stay(tmp_path: Path) -> None:
    write_run(
        synthetic_run(),
        tmp_path,
        chrome_trace=True,
        extra={"report.html": lambda path: path.write_text("first")},
    )
    (tmp_path / "mine.txt").write_text("kept")
    write_run(synthetic_run(timeline=None), tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["mine.txt", "requests.parquet", "summary.json"]


def failing(error: BaseException) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_text("half")
        raise error

    return write


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("bug"), OSError(28, "full")])
def test_a_failure_leaves_what_was_there(tmp_path: Path, error: BaseException) -> None:
    write_run(synthetic_run(), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    expected = InputError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected):
        write_run(synthetic_run(Shape(seed=1)), tmp_path, extra={"report.html": failing(error)})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "full")])
@pytest.mark.parametrize("nth", range(7))
def test_a_failure_while_files_change_places_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, nth: int
) -> None:
    """Seven renames: four former files aside (one of them stale), three new ones in."""
    write_run(synthetic_run(), tmp_path, extra={"report.html": lambda path: path.write_text("1")})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(before) == 4
    rename, count = Path.replace, iter(range(100))

    def fail_once(self: Path, target: Path) -> Path:
        if next(count) == nth:
            raise error
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", fail_once)
    with pytest.raises(InputError if isinstance(error, OSError) else KeyboardInterrupt):
        write_run(synthetic_run(Shape(seed=1)), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_folder_in_the_place_of_a_file_is_told_before_anything_is_written(
    tmp_path: Path,
) -> None:
    (tmp_path / "summary.json").mkdir()
    with pytest.raises(InputError, match=r"summary\.json': it is a folder") as error:
        write_run(synthetic_run(), tmp_path)
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]


def test_folders_made_in_vain_are_removed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the disk is full"):
        write_run(
            synthetic_run(),
            tmp_path / "a" / "b",
            extra={"report.html": failing(OSError(28, "No space left on device"))},
        )
    assert list(tmp_path.iterdir()) == []


def test_a_run_cut_short_by_a_crash_is_cleaned_up_by_the_next(tmp_path: Path) -> None:
    left = tmp_path / ".servetwin-partial"
    left.mkdir()
    (left / "requests.parquet").write_text("half")
    write_run(synthetic_run(timeline=None), tmp_path)
    assert not left.exists()


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    for target in (tmp_path / "out", tmp_path / "out" / "deeper"):
        with pytest.raises(InputError, match=r"it is a file|a part of the path is a file") as error:
            write_run(synthetic_run(), target)
        assert "\n" not in str(error.value)
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="not permitted"):
        write_run(synthetic_run(), tmp_path / "out")


WRITE_LIMITED = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from support.runs import Shape, synthetic_run
from servetwin.errors import InputError
from servetwin.results import write_run
run = synthetic_run(Shape(requests=3000), config={"model": "m" * int(sys.argv[4])})
limit = int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    write_run(run, Path(sys.argv[2]), chrome_trace=True)
except InputError as error:
    print(error)
    sys.exit(2)
"""


@pytest.mark.parametrize(("limit", "model"), [(4096, 1), (100_000, 1), (400_000, 500_000)], ids=str)
def test_a_full_disk_is_told_in_one_line(tmp_path: Path, limit: int, model: int) -> None:
    """The limit stops, in turn, the Parquet file, the trace, and a summary with a huge name."""
    tests = Path(__file__).parents[2]
    arguments = [str(tests), str(tmp_path / "out"), str(limit), str(model)]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WRITE_LIMITED, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr == ""
    assert "largest size allowed" in done.stdout
    assert len(done.stdout.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def damage(folder: Path, **changes: object) -> None:
    path = folder / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"schema": "servetwin.run/9"}, "not a summary of schema servetwin.run/1"),
        ({"kind": "guessed"}, "key kind"),
        ({"surprise": 1}, "key surprise"),
        ({"notes": [1]}, r"key notes\.0"),
        ({"metrics": {}}, r"key metrics\.ttft_ms"),
        ({"config": float("nan")}, "NaN is no JSON number"),
    ],
)
def test_a_wrong_summary_is_told(tmp_path: Path, changes: dict[str, object], told: str) -> None:
    write_run(synthetic_run(), tmp_path)
    damage(tmp_path, **changes)
    with pytest.raises(InputError, match=told):
        read_run(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b"null"])
def test_a_summary_that_is_no_summary(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "summary.json").write_bytes(content)
    with pytest.raises(InputError, match=r"summary\.json"):
        read_run(tmp_path)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no summary\.json"):
        read_run(tmp_path / "nowhere")
    write_run(synthetic_run(), tmp_path)
    (tmp_path / "requests.parquet").unlink()
    with pytest.raises(InputError, match=r"requests\.parquet' is missing"):
        read_run(tmp_path)


def rewrite(folder: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    path = folder / "requests.parquet"
    pq.write_table(change(pq.read_table(path)), path)


def with_column(name: str, array: pa.Array) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.set_column(table.column_names.index(name), name, array)


ROWS = Shape().requests


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda table: table.drop_columns("finish_s"), r"requests/1: it lacks the column finish_s"),
        (with_column("status", pa.array(["odd"] * ROWS)), "column status: 'odd' is none of"),
        (with_column("arrival_s", pa.array([-1.0] * ROWS)), "column arrival_s: a time is neg"),
        (with_column("arrival_s", pa.array([float("nan")] * ROWS)), "column arrival_s"),
        (with_column("arrival_s", pa.array(["x"] * ROWS)), "column arrival_s"),
        (with_column("input_tokens", pa.array([2**40] * ROWS)), "column input_tokens"),
        (with_column("output_tokens", pa.nulls(ROWS, pa.int32())), "column output_tokens"),
    ],
)
def test_a_wrong_column_is_told(
    tmp_path: Path, change: Callable[[pa.Table], pa.Table], told: str
) -> None:
    write_run(synthetic_run(), tmp_path)
    rewrite(tmp_path, change)
    with pytest.raises(InputError, match=told) as error:
        read_run(tmp_path)
    assert "\n" not in str(error.value)


@given(st.data())
def test_a_damaged_parquet_file_is_refused_or_read(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    write_run(synthetic_run(Shape(requests=20)), folder)
    path = folder / "requests.parquet"
    content = bytearray(path.read_bytes())
    cut = data.draw(st.integers(0, len(content)))
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(bytes(content[: max(cut, 1)] if data.draw(st.booleans()) else content))
    with contextlib.suppress(InputError):
        assert isinstance(read_run(folder), RunResult)


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (synthetic_run(Shape(requests=399)), "requests are 399, not 400"),
        (synthetic_run(Shape(rejected=5)), "completed are 395, not 397"),
        (synthetic_run(Shape(seed=1)), r"output_tokens are [\d,]+, not [\d,]+"),
    ],
)
def test_requests_of_another_run_are_told(tmp_path: Path, other: RunResult, told: str) -> None:
    write_run(synthetic_run(), tmp_path / "a")
    write_run(other, tmp_path / "b")
    (tmp_path / "b" / "requests.parquet").replace(tmp_path / "a" / "requests.parquet")
    with pytest.raises(InputError, match=rf"requests\.parquet' is not of the run in .*{told}"):
        read_run(tmp_path / "a")


def test_a_table_of_another_schema_is_told(tmp_path: Path) -> None:
    write_run(synthetic_run(), tmp_path)
    pq.write_table(pa.table({"a": [1]}), tmp_path / "timeline.parquet")
    with pytest.raises(InputError, match=r"timeline/1: it lacks the column t_s"):
        read_run(tmp_path)
    write_run(synthetic_run(), tmp_path)
    (tmp_path / "timeline.parquet").replace(tmp_path / "requests.parquet")
    with pytest.raises(InputError, match=r"is of schema servetwin.timeline/1, not servetwin.req"):
        read_run(tmp_path)


def test_other_programs_files_need_no_metadata(tmp_path: Path) -> None:
    run = synthetic_run()
    write_run(run, tmp_path)
    rewrite(tmp_path, lambda table: table.replace_schema_metadata(None))
    back = read_run(tmp_path)
    assert back.token_gaps is None
    assert_same(run.requests, back.requests)


@pytest.mark.parametrize(
    "text", [b"x", b"{}", b'{"bins": [-1], "counts": [1]}', b'{"bins": [99999], "counts": [1]}']
)
def test_damaged_gaps_are_told(tmp_path: Path, text: bytes) -> None:
    write_run(synthetic_run(), tmp_path)
    metadata = {"servetwin.token_gaps": text}
    rewrite(tmp_path, lambda table: table.replace_schema_metadata(metadata))
    with pytest.raises(InputError, match=r"servetwin\.token_gaps"):
        read_run(tmp_path)


def test_no_gaps_and_gaps_of_zero_count_differ(tmp_path: Path) -> None:
    empty = TokenGaps(np.zeros(TokenGaps.BINS, np.int64))
    run = replace(synthetic_run(), token_gaps=empty)
    write_run(run, tmp_path)
    assert read_run(tmp_path).token_gaps is not None


def test_this_process_gets_an_error_not_a_signal_at_the_size_limit() -> None:
    import signal

    assert signal.getsignal(signal.SIGXFSZ) == signal.SIG_IGN
