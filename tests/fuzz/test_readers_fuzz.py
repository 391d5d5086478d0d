"""Whatever the bytes, a reader returns a valid Workload or raises one clear InputError.

The marked test tries more than 10,000 files; the unmarked one some hundred of the same kind.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servetwin.errors import InputError
from servetwin.types import BlockHashes, Workload
from servetwin.units import NOT_YET
from servetwin.workload import FORMATS, read, write

GOOD_TEXT = {
    "azure": "TIMESTAMP,ContextTokens,GeneratedTokens\n"
    "2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9951690,396,109\n",
    "vidur": "arrived_at,num_prefill_tokens,num_decode_tokens\n0.5,374,44\n1.25e-1,396,109\n",
    "kavier": "session_id,turn_id,ts,num_input_tokens,num_output_tokens,input_tokens\n"
    'a,0,0,3,4,"[1,2,3]"\nb,0,1.5,2,0,"[1,2]"\n',
    "mooncake": '{"timestamp": 0, "input_length": 600, "output_length": 5, "hash_ids": [0, 1]}\n'
    '{"timestamp": 27, "input_length": 20, "output_length": 9, "hash_ids": [2]}\n',
    "dejavu": "[[557, 55], [257, 62], [96, 0]]",
    "token-ids": '{"input_toks": 2, "output_toks": 4, "arrival_time_ns": 5, '
    '"input_tok_ids": [1, 2]}\n{"session_id": "s", "arrival_time_ns": 9, "sub_requests": '
    '[{"input_toks": 7, "output_toks": 3, "tool_duration_ns": 100}, '
    '{"input_toks": 8, "output_toks": 1}]}\n',
    "agentic": '{"block_size": 64, "hash_id_scope": "local", "requests": [{"t": 0.0, "type": "n", '
    '"in": 130, "out": 7, "hash_ids": [1, 2], "api_time": 2.5, "think_time": 0.0}, '
    '{"t": 3, "type": "subagent", "requests": [{"t": 0, "type": "s", "in": 9, "out": 1}]}, '
    '{"t": 16.0, "type": "s", "in": 140, "out": 0, "hash_ids": [1, 2], "think_time": 7.0}]}',
}
MAPPED = "when,user,asked,made\n2024-05-10T00:00:00.5Z,u1,12,3\n2024-05-10T00:00:01Z,,7,1\n"
MAPPING = {"arrival": "when", "input": "asked", "output": "made", "session": "user"}

SPICES = [
    *(b"-1", b"0", b"1.5", b"1e400", b"1e-400", b"NaN", b"Infinity", b"nan", b"inf", b"null"),
    *(b"9" * 30, b"9" * 5000, b"1_0", b"0x1F", b"true", b'""', b'"', b"[", b"]", b"{", b"}"),
    *(b",", b"\n", b"\r\n", b"\r", b"\x00", b"\xff", b"\xef\xbb\xbf", b"\xd9\xa3", b"[[" * 3000),
    *(b"2023-02-30 25:61:61", b"-5e9", b"1e8", b"PAR1", b"{}", b"[]", b":", b"\\ud800", b" "),
]

Edit = tuple[str, float, float, bytes]
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["value", "value", "cut", "insert", "replace", "repeat", "truncate"]),
        st.floats(0, 1),
        st.floats(0, 0.3),
        st.one_of(st.sampled_from(SPICES), st.integers(0, 10**9).map(lambda n: b"%d" % n)),
    ),
    min_size=1,
    max_size=3,
)


def edited(data: bytes, edits: list[Edit]) -> bytes:
    for kind, where, span, spice in edits:
        start = int(where * len(data))
        end = start + int(span * len(data)) + (kind != "insert")
        if kind == "value":
            values = list(re.finditer(rb"[-\w.]+", data)) or [re.match(b"", data)]
            start, end = values[min(int(where * len(values)), len(values) - 1)].span()
        if kind == "truncate":
            data = data[:start]
        elif kind == "repeat":
            data = data[:end] + data[start:]
        else:
            middle = b"" if kind == "cut" else spice
            data = data[:start] + middle + data[start if kind == "insert" else end :]
    return data


KEYS = st.sampled_from(sorted(set(re.findall(r'"(\w+)":', "".join(GOOD_TEXT.values())))))
SCALARS = st.one_of(
    st.integers(-2, 10**9),
    st.sampled_from([10**8, 10**8 + 1, 2**63, 10**40, 0, 1, 64]),
    st.floats(),
    st.sampled_from(["subagent", "local", "global", "5", "", "2024-01-01 00:00:00"]),
    st.booleans(),
    st.none(),
)
JSON_VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=6)),
    max_leaves=25,
)
JSON_FILES = st.lists(JSON_VALUES, min_size=1, max_size=3).map(
    lambda values: "\n".join(map(json.dumps, values)).encode()
)
CELLS = st.one_of(
    st.integers(-1, 5000).map(str),
    st.sampled_from(
        ["2023-11-16 18:15:46.68", "[1,2,3]", '"[1, 2]"', "", "1.0", "1e9", "nan", "x"]
    ),
)
HEADERS = st.sampled_from([text.splitlines()[0] for text in (*GOOD_TEXT.values(), MAPPED)])


@st.composite
def csv_files(draw: st.DrawFn) -> bytes:
    header = draw(HEADERS)
    width = header.count(",") + 1
    row = st.lists(CELLS, min_size=width, max_size=width).map(",".join)
    return "\n".join([header, *draw(st.lists(row, max_size=4))]).encode()


def check(path: Path, **options: Any) -> None:
    try:
        workload = read(path, **options)
    except InputError as error:
        message = str(error)
        assert str(path.parent) in message
        assert "\n" not in message
        assert len(message) < 600, message
    else:
        assert isinstance(workload, Workload)
        assert len(workload) >= 1
        np.testing.assert_array_less(NOT_YET - 1, workload.arrival)


def tried(path: Path, data: bytes, forced: str) -> None:
    """Read `data` with the format recognised, with `forced`, and through a mapping."""
    path.write_bytes(data)
    check(path)
    if forced == "mapped":
        check(path, mapping=MAPPING)
    else:
        check(path, format=forced)


def good_parquet(folder: Path) -> dict[str, bytes]:
    hashes = BlockHashes(np.array([0, 2, 3, 3]), np.array([5, 6, 5]), 16)
    workload = Workload(
        arrival=np.array([0, 10**12 + 1, NOT_YET]),
        input_tokens=np.array([20, 9, 7], np.int32),
        output_tokens=np.array([1, 2, 3], np.int32),
        session_id=np.array([0, 1, 0], np.int32),
        parent=np.array([-1, -1, 0], np.int32),
        think_time=np.array([0, 0, 5]),
        block_hashes=hashes,
    )
    write(workload, folder / "native.parquet", "servetwin")
    flat = Workload(workload.arrival[:2], workload.input_tokens[:2], workload.output_tokens[:2])
    write(flat, folder / "kavier.parquet", "kavier")
    return {
        "servetwin": (folder / "native.parquet").read_bytes(),
        "kavier": (folder / "kavier.parquet").read_bytes(),
    }


def attack(folder: Path, examples: int) -> int:
    """Run every kind of attack; return the number of files tried."""
    path = folder / "trace"
    count = 0
    forced = st.sampled_from(FORMATS)
    goods = {name: text.encode() for name, text in GOOD_TEXT.items()} | {"mapped": MAPPED.encode()}
    parquet = good_parquet(folder)

    def run(files: st.SearchStrategy[tuple[bytes, str]], share: int) -> None:
        nonlocal count

        @settings(max_examples=examples * share)
        @given(files)
        def body(file: tuple[bytes, str]) -> None:
            nonlocal count
            count += 1
            tried(path, *file)

        body()

    for name, good in goods.items():
        tried(path, good, name)
        run(st.tuples(EDITS.map(lambda edits, good=good: edited(good, edits)), st.just(name)), 3)
    for name, good in parquet.items():
        tried(path, good, name)
        run(st.tuples(EDITS.map(lambda edits, good=good: edited(good, edits)), st.just(name)), 2)
    run(st.tuples(JSON_FILES, forced), 4)
    run(st.tuples(csv_files(), forced), 4)
    run(st.tuples(st.binary(max_size=200), forced), 1)
    return count


def test_hostile_files_are_refused_in_one_line(tmp_path: Path) -> None:
    assert attack(tmp_path, 12) > 300


@pytest.mark.fuzz
def test_ten_thousand_hostile_files_are_refused_in_one_line(tmp_path: Path) -> None:
    assert attack(tmp_path, 330) >= 10_000
