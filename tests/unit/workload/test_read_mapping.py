"""Anybody's request log, through a mapping of roles to its columns."""

from __future__ import annotations

from pathlib import Path

import pytest

from servetwin.units import PS_PER_MS, PS_PER_NS, PS_PER_S
from servetwin.workload import parse_mapping, read

LENGTHS = "input=prompt_tokens,output=completion_tokens"


def arrivals(folder: Path, text: str, arrival: str) -> list[int]:
    path = folder / "log"
    path.write_text(text)
    mapping = parse_mapping(f"arrival={arrival},{LENGTHS}")
    found: list[int] = read(path, mapping=mapping).arrival.tolist()
    return found


def csv_of(times: list[str]) -> str:
    rows = "".join(f"{time},10,2\n" for time in times)
    return f"ts,prompt_tokens,completion_tokens\n{rows}"


TIMES = [
    ("ts", ["1700000000.123456789012", "1700000000.123456789013"], 1),
    ("ts:s", ["-1.5", "1.5"], 3 * PS_PER_S),
    ("ts:ms", ["1700000000000.5", "1700000000001"], PS_PER_MS // 2),
    ("ts:us", ["7", "9"], 2_000_000),
    ("ts:ns", ["1700000000000000000", "1700000000000000001"], PS_PER_NS),
    ("ts", ["2024-02-28T23:59:59.999Z", "2024-02-29T00:00:00Z"], PS_PER_MS),
    ("ts:iso", ["2024-02-29 12:00:00+0530", "2024-02-29 06:30:01+00:00"], PS_PER_S),
]


@pytest.mark.parametrize(("arrival", "times", "gap"), TIMES)
def test_arrivals_in_any_unit_are_exact(
    tmp_path: Path, arrival: str, times: list[str], gap: int
) -> None:
    assert arrivals(tmp_path, csv_of(times), arrival) == [0, gap]


def test_the_earliest_arrival_is_the_start_even_if_it_comes_last(tmp_path: Path) -> None:
    found = arrivals(tmp_path, csv_of(["5.5", "7", "5"]), "ts")
    assert found == [0, PS_PER_S // 2, 2 * PS_PER_S]


def test_nested_keys_of_a_json_log(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(
        '{"at": 1.25, "usage": {"prompt": 11, "made": 3}, "user": "a"}\n'
        '{"at": 1.5, "usage": {"prompt": 12, "made": 4}, "user": null}\n'
        '{"at": 2, "usage": {"prompt": 13, "made": 5}, "user": "a"}\n'
    )
    mapping = parse_mapping("arrival=at, input=usage.prompt, output=usage.made,session=user")
    workload = read(path, mapping=mapping)
    assert workload.arrival.tolist() == [0, PS_PER_S // 4, 3 * PS_PER_S // 4]
    assert workload.input_tokens.tolist() == [11, 12, 13]
    assert workload.output_tokens.tolist() == [3, 4, 5]
    assert workload.session_id is not None
    assert workload.session_id.tolist() == [0, 1, 0]


def test_sessions_are_numbered_by_appearance_and_nobody_is_alone(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("who,n\nbob,1\n,2\nann,3\nbob,4\n,5\n")
    workload = read(path, mapping={"input": "n", "output": "n", "session": "who"})
    assert workload.session_id is not None
    assert workload.session_id.tolist() == [0, 1, 2, 0, 3]


def test_a_parquet_log_with_timestamps(tmp_path: Path) -> None:
    from datetime import datetime

    import pyarrow as pa
    import pyarrow.parquet as pq

    times = [datetime(2024, 1, 1, 0, 0, 1), datetime(2024, 1, 1, 0, 0, 0, 5)]
    table = pa.table({"ts": times, "prompt_tokens": [1, 2], "completion_tokens": [3.0, 4.0]})
    path = tmp_path / "log"
    pq.write_table(table, path)
    workload = read(path, mapping=parse_mapping(f"arrival=ts,{LENGTHS}"))
    assert workload.arrival.tolist() == [0, 999_995 * 1_000_000]
    assert workload.input_tokens.tolist() == [2, 1]
    assert workload.output_tokens.tolist() == [4, 3]
