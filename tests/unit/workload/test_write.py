"""What is written is read back equal, and what a format cannot hold is refused."""

from __future__ import annotations

import os
import resource
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servetwin.errors import InputError
from servetwin.types import BlockHashes, Workload
from servetwin.types.workload import MAX_TOKENS
from servetwin.units import MAX_TIME_PS, NOT_YET
from servetwin.workload import WRITABLE, detect_format, read, write

COLUMNS = ("arrival", "input_tokens", "output_tokens", "session_id", "parent", "think_time")
TIMES = st.one_of(st.integers(0, MAX_TIME_PS), st.integers(0, 10**6).map(lambda ms: ms * 10**9))
LENGTHS = st.one_of(st.integers(1, 5000), st.integers(1, MAX_TOKENS))


@st.composite
def workloads(
    draw: st.DrawFn, *, sessions: bool = False, follow_ups: bool = False, blocks: int = 0
) -> Workload:
    """Draw up to 8 requests; with `blocks`, some have ids of blocks of that many tokens."""
    n = draw(st.integers(1, 8))
    arrival = np.sort(np.array(draw(st.lists(TIMES, min_size=n, max_size=n)), dtype=np.int64))
    inputs = np.array(draw(st.lists(LENGTHS, min_size=n, max_size=n)), dtype=np.int32)
    outputs = np.array(draw(st.lists(LENGTHS, min_size=n, max_size=n)), dtype=np.int32)
    columns: dict[str, Any] = {}
    if sessions:
        ids = draw(st.lists(st.integers(0, 3), min_size=n, max_size=n))
        columns["session_id"] = np.array(ids, dtype=np.int32)
    if follow_ups:
        parent = [draw(st.integers(-1, i - 1)) for i in range(n)]
        think = [draw(TIMES) if p >= 0 else 0 for p in parent]
        columns["parent"] = np.array(parent, dtype=np.int32)
        columns["think_time"] = np.array(think, dtype=np.int64)
        arrival = np.where(columns["parent"] >= 0, NOT_YET, arrival).astype(np.int64)
    if blocks:
        most = [min(4, -(-int(length) // blocks)) for length in inputs]
        lists = [draw(st.lists(st.integers(0, 2**63 - 1), max_size=size)) for size in most]
        offsets = np.cumsum([0, *map(len, lists)]).astype(np.int64)
        flat = np.array([block for ids in lists for block in ids], dtype=np.int64)
        if flat.size:
            columns["block_hashes"] = BlockHashes(offsets, flat, blocks)
    return Workload(arrival, inputs, outputs, **columns)


def assert_equal(found: Workload, expected: Workload) -> None:
    for name in COLUMNS:
        left, right = getattr(found, name), getattr(expected, name)
        assert (left is None) == (right is None), name
        if left is not None:
            np.testing.assert_array_equal(left, right, err_msg=name)
            assert left.dtype == right.dtype, name
    assert (found.block_hashes is None) == (expected.block_hashes is None)
    if found.block_hashes is not None and expected.block_hashes is not None:
        for name in ("offsets", "ids"):
            left = getattr(found.block_hashes, name)
            np.testing.assert_array_equal(left, getattr(expected.block_hashes, name))
        assert found.block_hashes.block_tokens == expected.block_hashes.block_tokens
        assert found.block_hashes.scope == expected.block_hashes.scope


def there_and_back(folder: Path, workload: Workload, format: str, name: str = "w") -> Workload:
    path = folder / name
    write(workload, path, format)
    assert detect_format(path) == format
    assert [entry.name for entry in folder.iterdir()] == [name]
    return read(path)


@given(workload=workloads(sessions=True, follow_ups=True, blocks=16))
@settings(max_examples=60)
def test_the_own_format_keeps_every_column(
    tmp_path_factory: pytest.TempPathFactory, workload: Workload
) -> None:
    folder = tmp_path_factory.mktemp("own")
    found = there_and_back(folder, replace(workload, name="mine"), "servetwin")
    assert_equal(found, workload)
    assert found.name == "mine"


@given(workload=workloads())
@settings(max_examples=60)
def test_flat_formats_keep_lengths_and_picoseconds(
    tmp_path_factory: pytest.TempPathFactory, workload: Workload
) -> None:
    for format in ("vidur", "mooncake", "token-ids", "kavier", "servetwin"):
        found = there_and_back(tmp_path_factory.mktemp("flat"), workload, format)
        assert_equal(found, workload)
    shifted = replace(workload, arrival=workload.arrival - workload.arrival[0])
    found = there_and_back(tmp_path_factory.mktemp("flat"), workload, "azure")
    assert_equal(found, shifted)
    at_zero = replace(workload, arrival=np.zeros_like(workload.arrival))
    assert_equal(there_and_back(tmp_path_factory.mktemp("flat"), at_zero, "dejavu"), at_zero)


@given(workload=workloads(sessions=True))
@settings(max_examples=40)
def test_kavier_keeps_sessions_in_both_its_forms(
    tmp_path_factory: pytest.TempPathFactory, workload: Workload
) -> None:
    for name in ("w.csv", "w.parquet"):
        found = there_and_back(tmp_path_factory.mktemp("kavier"), workload, "kavier", name)
        assert_equal(found, workload)


@given(workload=workloads(blocks=512))
@settings(max_examples=40)
def test_mooncake_keeps_block_hashes(
    tmp_path_factory: pytest.TempPathFactory, workload: Workload
) -> None:
    assert_equal(there_and_back(tmp_path_factory.mktemp("moon"), workload, "mooncake"), workload)


def test_token_ids_keep_chains(tmp_path: Path) -> None:
    workload = Workload(
        arrival=np.array([5, NOT_YET, NOT_YET, 1500]),
        input_tokens=np.array([1, 2, 3, 4], np.int32),
        output_tokens=np.array([5, 6, 7, 8], np.int32),
        session_id=np.array([0, 0, 0, 1], np.int32),
        parent=np.array([-1, 0, 1, -1], np.int32),
        think_time=np.array([0, 7, 8000, 0]),
    )
    assert_equal(there_and_back(tmp_path, workload, "token-ids"), workload)


def everything() -> Workload:
    hashes = BlockHashes(np.array([0, 1, 2, 2]), np.array([0, 1]), 16)
    return Workload(
        arrival=np.array([5, NOT_YET, NOT_YET]),
        input_tokens=np.array([1, 2, 3], np.int32),
        output_tokens=np.array([5, 6, 7], np.int32),
        session_id=np.array([0, 0, 0], np.int32),
        parent=np.array([-1, 0, 0], np.int32),
        think_time=np.array([0, 7, 8]),
        block_hashes=hashes,
    )


LOSSES = [
    ("azure", "follow-ups (a closed loop) and session ids and prefix block hashes"),
    ("vidur", "follow-ups (a closed loop) and session ids and prefix block hashes"),
    ("mooncake", "follow-ups (a closed loop) and session ids and prefix block hashes"),
    ("kavier", "follow-ups (a closed loop) and prefix block hashes"),
    ("dejavu", "arrival times and follow-ups (a closed loop) and session ids and prefix block"),
    ("token-ids", "prefix block hashes and follow-ups that run side by side"),
]


@pytest.mark.parametrize(("format", "lost"), LOSSES)
@pytest.mark.parametrize("drop", [False, True])
def test_a_format_that_would_lose_something_is_refused(
    tmp_path: Path, format: str, lost: str, drop: bool
) -> None:
    with pytest.raises(InputError) as caught:
        write(everything(), tmp_path / "w", format, drop=drop)
    said = str(caught.value)
    if drop:
        assert "follow-ups" in said
        assert "session ids" not in said
    else:
        assert f"w: the format '{format}' would lose {lost}" in said
    assert list(tmp_path.iterdir()) == []


def test_sessions_and_hashes_are_dropped_when_asked(tmp_path: Path) -> None:
    workload = replace(everything(), arrival=np.array([5, 6, 7]), parent=None, think_time=None)
    write(workload, tmp_path / "w", "vidur", drop=True)
    assert_equal(read(tmp_path / "w"), replace(workload, session_id=None, block_hashes=None))


def test_formats_that_are_not_written(tmp_path: Path) -> None:
    assert "agentic" not in WRITABLE
    with pytest.raises(InputError, match="cannot write the format 'azur'; did you mean azure"):
        write(everything(), tmp_path / "w", "azur")


@pytest.mark.parametrize("format", ["vidur", "servetwin"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path, format: str) -> None:
    path = tmp_path / "w"
    path.write_text("old")
    n = 100_000
    tokens = np.arange(1, n + 1, dtype=np.int32)
    arrival = np.arange(n, dtype=np.int64) ** 2
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(InputError, match=r"w: cannot be written \("):
            write(Workload(arrival, tokens, tokens), path, format)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [entry.name for entry in tmp_path.iterdir()] == ["w"]
    assert path.read_text() == "old"


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    workload = replace(everything(), parent=None, think_time=None, arrival=np.array([1, 2, 3]))
    with pytest.raises(InputError, match=r"none/w: cannot be written \(No such file"):
        write(workload, tmp_path / "none" / "w", "servetwin")


def test_a_trace_does_not_take_its_own_place(tmp_path: Path) -> None:
    trace = tmp_path / "a.csv"
    trace.write_text("num_prefill_tokens,num_decode_tokens\n1,2\n")
    before = trace.read_bytes()
    (tmp_path / "link.csv").symlink_to(trace)
    (tmp_path / "hard.csv").hardlink_to(trace)
    (tmp_path / "sub").mkdir()
    (tmp_path / "folder").symlink_to(tmp_path)
    for spelling in ("a.csv", "sub/../a.csv", "link.csv", "hard.csv", "folder/a.csv"):
        target = tmp_path / spelling
        with pytest.raises(InputError) as caught:
            write(read(trace), target, "azure")
        assert str(caught.value) == f"{target}: is the trace that is read; name another file"
        with pytest.raises(InputError, match="is the trace that is read"):
            write(read(target), trace, "azure")
    assert trace.read_bytes() == before
    write(read(trace), tmp_path / "b.csv", "azure")


def test_a_session_does_not_take_the_place_of_one_in_its_folder(tmp_path: Path) -> None:
    session = tmp_path / "a.json"
    session.write_text('{"requests": [{"in": 1, "out": 1}]}')
    with pytest.raises(InputError, match=r"a\.json: is the trace that is read"):
        write(read(tmp_path), session, "dejavu", drop=True)
    write(read(tmp_path), tmp_path / "b.parquet", "servetwin")


def test_only_files_are_replaced(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder; name a file"):
        write(everything(), tmp_path, "servetwin")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(InputError, match="is not a regular file; name another"):
        write(everything(), pipe, "servetwin")
    pipe.unlink()
    for name in ("a" * 250, "a" * 300, "a." + "b" * 250):
        with pytest.raises(InputError, match=r"cannot be written \(File name too long\)"):
            write(everything(), tmp_path / name, "servetwin")
    assert list(tmp_path.iterdir()) == []
