"""Priorities of requests: read, written, drawn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from servetwin.errors import InputError
from servetwin.types import Workload
from servetwin.workload import (
    draw_priorities,
    parse_priorities,
    read,
    summarize,
    take,
    without_long,
    write,
)


def made(n: int = 5, **columns: object) -> Workload:
    lengths = np.arange(1, n + 1, dtype=np.int32)
    times = np.arange(n, dtype=np.int64) * 10**12
    priority = np.arange(n, dtype=np.int32) % 3 - 1
    fields = {"priority": priority, **columns}
    return Workload(times, lengths, lengths, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("format", ["servetwin", "azure", "mooncake", "vidur"])
def test_what_is_written_is_read(tmp_path: Path, format: str) -> None:
    workload = made()
    file = tmp_path / "trace"
    write(workload, file, format)
    found = read(file)
    assert found.priority is not None
    assert found.priority.dtype == np.int32
    np.testing.assert_array_equal(found.priority, workload.priority)
    write(replace(workload, priority=None), file, format)
    assert read(file).priority is None


@pytest.mark.parametrize("format", ["dejavu", "kavier", "token-ids"])
def test_a_format_without_them_says_so(tmp_path: Path, format: str) -> None:
    workload, file = made(), tmp_path / "trace.json"
    with pytest.raises(InputError, match=r"would lose .*priorities"):
        write(workload, file, format)
    assert not file.exists()
    write(replace(workload, arrival=workload.arrival * 0), file, format, drop=True)
    assert read(file).priority is None


def test_a_mapping_names_their_column_and_sorting_takes_them_along(tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    file.write_text("t,i,o,class\n3,1,1,-7\n1,2,2,\n2,3,3,4\n")
    mapping = {"arrival": "t", "input": "i", "output": "o", "priority": "class"}
    found = read(file, mapping=mapping)
    assert found.priority is not None
    assert found.priority.tolist() == [0, 4, -7]
    with pytest.raises(InputError, match="no 'o2' with priorities"):
        read(file, mapping={**mapping, "priority": "o2"})


@pytest.mark.parametrize("cell", ["high", "1.5", "2147483648", "nan"])
def test_what_is_no_priority_is_told_with_its_place(tmp_path: Path, cell: str) -> None:
    file = tmp_path / "trace.csv"
    file.write_text(f"arrived_at,num_prefill_tokens,num_decode_tokens,priority\n0,1,1,{cell}\n")
    with pytest.raises(InputError, match=r"trace.csv:2: column 'priority': '"):
        read(file)


def test_fewer_requests_keep_theirs() -> None:
    workload = made()
    for fewer in (take(workload, 3), without_long(workload, 6)):
        assert fewer.priority is not None
        assert fewer.priority.tolist() == [-1, 0, 1]
    assert summarize(workload)["priorities"] == {"-1": 2, "0": 2, "1": 1}
    assert summarize(made(100, priority=np.arange(100, dtype=np.int32)))["priorities"] is None


def test_drawn_ones_have_the_shares_and_depend_on_the_seed_alone() -> None:
    workload = made(20_000, priority=None)
    mix = parse_priorities("0:1, 5:3")
    drawn = draw_priorities(workload, mix, seed=7).priority
    assert drawn is not None
    assert drawn.dtype == np.int32
    assert set(drawn.tolist()) == {0, 5}
    assert abs(np.mean(drawn == 5) - 0.75) < 0.02
    again, other = (draw_priorities(workload, mix, seed).priority for seed in (7, 8))
    np.testing.assert_array_equal(drawn, again)
    assert np.any(drawn != other)


def test_all_turns_of_a_session_have_one() -> None:
    sessions = np.repeat(np.arange(50, dtype=np.int32), 4)
    workload = made(200, priority=None, session_id=sessions)
    drawn = draw_priorities(workload, parse_priorities("0:1,1:1"), 0).priority
    assert drawn is not None
    rows = drawn.reshape(50, 4)
    assert np.all(rows == rows[:, :1])
    assert set(rows[:, 0].tolist()) == {0, 1}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("0", "'0' is none; write 0:0.2,1:0.8"),
        ("0:0.2,high:0.8", "'high:0.8' is none"),
        ("0:1,0:2", "0 is named twice"),
        ("2147483648:1", "2147483648 exceeds 32 bits"),
        ("0:0", "the share of 0 must be above 0"),
        ("0:nan", "the share of 0 must be above 0"),
        ("", "'' is none"),
        (",".join(f"{number}:1" for number in range(65)), "65 classes; at most 64"),
    ],
)
def test_a_mix_that_is_none_is_told(text: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        parse_priorities(text)


def test_a_workload_that_has_some_gets_no_others() -> None:
    with pytest.raises(InputError, match="has priorities of its own: leave --priorities away"):
        draw_priorities(made(), parse_priorities("0:1"), 0)


def test_one_for_each_request() -> None:
    with pytest.raises(ValueError, match="priority must have one entry for each of the 5"):
        made(priority=np.zeros(4, np.int32))
