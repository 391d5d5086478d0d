"""Files of a run that are damaged, missing, or of another run are told in one line."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servetwin.errors import InputError
from servetwin.results import read_run, write_run
from servetwin.types import RunResult, TokenGaps
from support.runs import Shape, assert_same_columns, synthetic_run


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
    assert_same_columns(run.requests, back.requests)


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
