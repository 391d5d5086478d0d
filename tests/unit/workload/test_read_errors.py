"""Every mistake is told in one line with file, line, column, and what would be right."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from servetwin.errors import InputError
from servetwin.workload import FORMATS, parse_mapping, read
from servetwin.workload.parsing import text
from servetwin.workload.parsing.times import UNITS

AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.68,374,44\n"
VIDUR = "arrived_at,num_prefill_tokens,num_decode_tokens\n0,1,1\n"
MOONCAKE = '{"timestamp": 0, "input_length": 5, "output_length": 5, "hash_ids": [0]}\n'
TOKENS = '{"input_toks": 1, "output_toks": 1, "arrival_time_ns": 0}\n'
SESSION = '{"requests": [{"in": 64, "out": 1}, '


def message(path: Path, content: str | bytes, **options: Any) -> str:
    """Return what is said of `content`, with the path shortened to F."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(InputError) as caught:
        read(path, **options)
    said = str(caught.value)
    assert "\n" not in said
    return said.replace(str(path), "F")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "trace"


CASES = [
    ("", "F: the file is empty"),
    ("\n \n", "F: the file is empty"),
    (b"PAR1\x00\x01", "F: not a readable Parquet file"),
    (b"\x7fELF\x02\x00\x00", "F:1: binary data; a trace is UTF-8 text or Parquet"),
    (b"\xff\xfea\x00", "F:1: binary data; a trace is UTF-8 text or Parquet"),
    ("caf\u00e9,x\n".encode("latin-1"), "F:1: byte 4 is not UTF-8; save the trace as UTF-8"),
    (AZURE.splitlines()[0], "F: no requests in the file"),
    (AZURE + "2023-11-16 18:15:47,12.5,3\n", "F:3: column 'ContextTokens': '12.5' is not a whole"),
    (AZURE + "2023-11-16 18:15:47,-4,3", "F:3: column 'ContextTokens': '-4' is negative; a number"),
    (AZURE + "2023-11-16 18:15:47,nan,3", "F:3: column 'ContextTokens': 'nan' is not a number"),
    (AZURE + "2023-11-16 18:15:47,inf,3", "F:3: column 'ContextTokens': 'inf' is not a number"),
    (AZURE + "2023-11-16 18:15:47,1_0,3", "F:3: column 'ContextTokens': '1_0' is not a number"),
    (AZURE + "2023-11-16 18:15:47,0x1,3", "F:3: column 'ContextTokens': '0x1' is not a number"),
    (AZURE + "2023-11-16 18:15:47,\u0663,3", "F:3: column 'ContextTokens': '\u0663' is not a num"),
    (AZURE + "2023-11-16 18:15:47,,3", "F:3: column 'ContextTokens': empty where a number is"),
    (AZURE + "2023-11-16 18:15:47,3,0", "F:3: column 'GeneratedTokens': '0' tokens; a request has"),
    (
        AZURE + "2023-11-16 18:15:47,100000001,3",
        "F:3: column 'ContextTokens': '100000001' is above the 100,000,000 tokens a request may",
    ),
    (AZURE + "2023-11-16 18:15:47,1e999,3", "F:3: column 'ContextTokens': '1e999' is above the"),
    (AZURE + "2023-11-16 18:15", "F:3: 1 value where the header names 3 columns; was the file"),
    (AZURE + "2023-11-16 18:15:47,1,2,3", "F:3: 4 values where the header names 3 columns"),
    ("num_prefill_tokens\n1,2", "F:1: no column 'num_decode_tokens'; the nearest is"),
    (AZURE.replace(",", ";"), "F:1: the columns are separated by semicolons; commas are needed"),
    (AZURE.replace(",", "\t"), "F:1: the columns are separated by tabs; commas are needed"),
    (AZURE + "16/11/2023 18:15:47,1,2", "F:3: column 'TIMESTAMP': '16/11/2023 18:15:47' is not a"),
    (AZURE + "2023-02-30 18:15:47,1,2", "F:3: column 'TIMESTAMP': '2023-02-30 18:15:47' is not a"),
    (AZURE + "2023-11-16 18:15:61,1,2", "F:3: column 'TIMESTAMP': '2023-11-16 18:15:61' has more"),
    (AZURE + "2023-11-16 18:15:47Z,1,2", "F:3: column 'TIMESTAMP': '2023-11-16 18:15:47Z': some"),
    (AZURE + "2033-11-16 18:15:47,1,2", "F:3: column 'TIMESTAMP': '2033-11-16 18:15:47' is 3,653"),
    (
        AZURE.replace("ContextTokens", "ContextToken"),
        "F:1: no column 'ContextTokens'; the nearest is 'ContextToken'",
    ),
    (AZURE.replace("TIMESTAMP", "ContextTokens"), "F:1: no column 'TIMESTAMP'; found: Context"),
    (
        "TIMESTAMP,ContextTokens,GeneratedTokens,ContextTokens\nx,1,2,3\n",
        "F:1: column 'ContextTokens' appears 2 times",
    ),
    (AZURE + '"2023,1,2', "F:3: not valid CSV: unexpected end of data; was the file cut?"),
    ("a,b\r1,2\r3,4", "F:1: not valid CSV: a carriage return within a line"),
    ("num_prefil_token,x\n1,2\n", "F:1: columns 'num_prefil_token', 'x' are of no known trace; is"),
    (VIDUR + "-1,1,1", "F:3: column 'arrived_at': '-1' is negative; times start at 0"),
    (VIDUR + "nan,1,1", "F:3: column 'arrived_at': 'nan' is not a number"),
    (VIDUR + "1e7,1,1", "F:3: column 'arrived_at': '1e7' is 115 days from the start; a trace may"),
    (VIDUR + "1e300,1,1", "F:3: column 'arrived_at': '1e300' is absurd as a time"),
    (VIDUR + "2023-01-01,1,1", "F:3: column 'arrived_at': '2023-01-01' is a date where a number"),
    (MOONCAKE + MOONCAKE[:40], "F:2: the JSON ends too early; was the file cut?"),
    (MOONCAKE + "[1]\n", "F:2: '[1]\\n' is not a JSON object"),
    (MOONCAKE.replace("5,", "5.5,"), "F:1: key 'input_length': 5.5 is not a whole number"),
    (MOONCAKE.replace("5,", '"5",'), "F:1: key 'input_length': '5' is text where a number is"),
    (MOONCAKE.replace("5,", "true,"), "F:1: key 'input_length': true or false where a number is"),
    (MOONCAKE.replace("5,", "null,"), "F:1: key 'input_length': null where a value is needed"),
    (MOONCAKE.replace("5,", "NaN,"), "F:1: not valid JSON: NaN is not a JSON number"),
    (MOONCAKE.replace("5,", "9" * 5000 + ","), "F:1: not valid JSON: a number is out of range"),
    (MOONCAKE + MOONCAKE.replace("input_l", "l"), "F:2: no key 'input_length'; the nearest is"),
    (MOONCAKE.replace("[0]", "[0, 1]"), "F:1: key 'hash_ids': 2 blocks of 512 tokens are 1,024"),
    (MOONCAKE.replace("[0]", "[-1]"), "F:1: key 'hash_ids': block id -1 is negative"),
    (MOONCAKE.replace("[0]", "[1.5]"), "F:1: key 'hash_ids': a block id is not a whole number"),
    (MOONCAKE.replace("[0]", '"abc"'), "F:1: key 'hash_ids': a list of block ids is needed"),
    ('{"timestamp": 0, "input_length": 5}', "F:1: no key 'output_length'; the nearest is 'input"),
    (
        '{"prompt": 1}',
        "F:1: keys 'prompt' are of no known trace; name the columns of your own log: servetwin "
        "simulate and servetwin workload convert take --map input=",
    ),
    ('{"a": ' + "[" * 100_000, "F:1: the JSON is nested too deeply"),
    ("[[1, 2], [3]]", "F: entry 2: [3] is not a pair [prompt, generated]"),
    ("[[1, 2], [3, -1]]", "F: entry 2: number 'generated': -1 is negative; a number of tokens"),
    ("[[1, 2], [3", "F: the JSON ends too early; was the file cut?"),
    ("[[1, 2],\n [3; 4]]", "F: not valid JSON at line 2: Expecting ',' delimiter"),
    ("[]", "F: no requests in the file"),
    ("[" * 100_000, "F: the JSON is nested too deeply"),
    (TOKENS.replace("}", ', "input_tok_ids": [1, 2]}'), "F:1: key 'input_tok_ids': 2 token ids, b"),
    (
        TOKENS.replace("1,", '3, "input_tok_ids": [7],', 1),
        "F:1: key 'input_tok_ids': 1 token id, bu",
    ),
    (TOKENS.replace("}", ', "input_tok_ids": ["a"]}'), "F:1: key 'input_tok_ids': a token id is"),
    (
        TOKENS + '{"input_toks": 1, "arrival_time_ns": 0}',
        "F:2: no key 'output_toks'; the nearest is 'input_toks'",
    ),
    (
        '{"arrival_time_ns": 0, "sub_requests": []}',
        "F:1: key 'sub_requests': a list of requests is needed",
    ),
    (TOKENS.replace("arrival_time_ns", "arrival"), "F:1: no key 'arrival_time_ns'; the nearest is"),
    (
        '{"arrival_time_ns": 0, "sub_requests": [{"input_toks": 0, "output_toks": 1}]}',
        "F:1: sub_requests[0]: key 'input_toks': 0 tokens; a request has at least 1",
    ),
    (SESSION + '{"in": 3}]}', "F: requests[1]: no key 'out'; found: in"),
    (SESSION + '{"in": -3, "out": 1}]}', "F: requests[1]: key 'in': -3 is negative; a number of"),
    (SESSION + '{"in": 3, "out": 1, "think_time": -1}]}', "F: requests[1]: key 'think_time': -1 s"),
    (SESSION + '{"type": "subagent"}]}', "F: requests[1]: no key 'requests'; found: type"),
    ('{"requests": {}}', "F: requests: a list of requests is needed"),
    ('{"requests": []}', "F: no requests in the file"),
    ('{"block_size": 0, "requests": []}', "F: key 'block_size': a whole number of tokens is"),
]


@pytest.mark.parametrize(("content", "said"), CASES, ids=range(len(CASES)))
def test_a_bad_file_is_refused_exactly(file: Path, content: str | bytes, said: str) -> None:
    found = message(file, content)
    assert found[: len(said)] == said, found


def test_a_file_that_is_not_there_or_no_file(tmp_path: Path) -> None:
    missing = tmp_path / "none.csv"
    with pytest.raises(InputError, match=r"none\.csv: no such file"):
        read(missing)
    with pytest.raises(InputError, match=r"the folder has no \.json files"):
        read(tmp_path)
    for name in set(FORMATS) - {"agentic", "mapped"}:
        with pytest.raises(InputError, match="is a folder"):
            read(tmp_path, format=name)


def refusal(path: Path, format: str | None) -> str:
    """Return what is said of `path`, read as `format`."""
    mapping = {"input": "a", "output": "b"} if format == "mapped" else None
    with pytest.raises(InputError) as caught:
        read(path, format=format, mapping=mapping)
    return str(caught.value).replace(str(path), "F")


def forbid(monkeypatch: pytest.MonkeyPatch, *methods: str) -> None:
    """Have these methods of paths fail as they do for a user without permission."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    for method in methods:
        monkeypatch.setattr(Path, method, refuse)


@pytest.mark.parametrize("format", [None, *FORMATS])
@pytest.mark.parametrize("content", [AZURE, "PAR1", "{", "["])
def test_a_file_that_may_not_be_read(
    file: Path, format: str | None, content: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text(content)
    forbid(monkeypatch, "open")
    assert refusal(file, format) == "F: cannot be read (Permission denied)"


@pytest.mark.parametrize("format", [None, *FORMATS])
def test_a_file_in_a_folder_that_may_not_be_entered(
    file: Path, format: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text(AZURE)
    forbid(monkeypatch, "stat")
    assert refusal(file, format) == "F: cannot be read (Permission denied)"


@pytest.mark.parametrize("format", [None, *FORMATS])
def test_what_is_no_file(tmp_path: Path, format: str | None) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert refusal(pipe, format) == "F: is not a regular file"
    assert refusal(tmp_path / ("x" * 300), format) == "F: cannot be read (File name too long)"
    assert refusal(tmp_path / "a\0b", format) == "F: no such file"
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    assert refusal(loop, format) == "F: cannot be read (Too many levels of symbolic links)"


def test_a_folder_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forbid(monkeypatch, "iterdir")
    assert refusal(tmp_path, None) == "F: cannot be read (Permission denied)"


def test_an_unknown_format_offers_the_nearest(file: Path) -> None:
    assert message(file, AZURE, format="Azur") == (
        "F: unknown trace format 'Azur'; did you mean azure?"
    )


def test_a_line_of_absurd_length(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "MAX_LINE_BYTES", 1 << 20)
    found = message(file, AZURE + "9" * (1 << 21))
    assert found == "F:3: the line is longer than 1 MiB"


def test_a_document_too_large_to_hold(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "MAX_DOCUMENT_BYTES", 1 << 20)
    found = message(file, "[" + "[1, 2],\n" * 200_000 + "[1, 2]]")
    assert found == "F: larger than 1 MiB; a JSON document is read as a whole"


def test_the_line_is_right_behind_quoted_line_breaks_and_batches(file: Path) -> None:
    rows = 'a,"two\nlines",3\n' * 70_000
    found = message(file, "x,note,n\n" + rows + "a,b,-3\n", mapping={"input": "n", "output": "n"})
    assert found.startswith("F:140002: column 'n': '-3' is negative")


def test_agentic_sessions_must_agree_on_their_blocks(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"block_size": 64, "requests": [{"in": 1, "out": 1}]}')
    (tmp_path / "b.json").write_text('{"block_size": 32, "requests": [{"in": 1, "out": 1}]}')
    with pytest.raises(InputError, match=r"b\.json: block_size and hash_id_scope differ from a"):
        read(tmp_path)


MAPPINGS = [
    ("input=a", "mapping: the role 'output' is missing, as in arrival=ts:ms,input="),
    ("input=a,output=b,arival=c", "mapping: unknown role 'arival'; did you mean arrival?"),
    ("input=a,output", "mapping 'output' is not role=column, as in arrival=ts:ms"),
    ("input=a,input=b", "mapping names the role 'input' twice"),
]


@pytest.mark.parametrize(("mapping", "said"), MAPPINGS)
def test_a_bad_mapping(mapping: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_mapping(mapping)
    assert str(caught.value).startswith(said)


def test_a_mapping_to_a_missing_column(file: Path) -> None:
    found = message(file, "prompt,made\n1,2\n", mapping={"input": "prompts", "output": "made"})
    assert found == "F:1: no column 'prompts'; the nearest is 'prompt'"
    found = message(file, '{"a": 1}\n', mapping={"input": "a", "output": "b"})
    assert found == "F:1: no key 'b'; found: a"
    sessions = {"input": "a", "output": "a", "session": "user"}
    assert message(file, "a\n1\n", mapping=sessions) == "F: no column 'user' to tell sessions by"
    assert message(file, '{"a": 1}', mapping=sessions) == "F: no key 'user' to tell sessions by"
    found = message(file, "a\n1\n", mapping={"input": "a", "output": "a"}, format="vidur")
    assert found == "F: a mapping and the format 'vidur' exclude each other"
    found = message(file, "a\n1\n", format="mapped")
    assert found == "F: the format 'mapped' needs a mapping (input=…,output=…)"


def test_a_log_with_other_separators_is_told_what_they_are(file: Path) -> None:
    both = {"input": "a", "output": "a"}
    assert message(file, "a;b\n1,5;2\n", mapping=both) == (
        "F:1: the columns are separated by semicolons; commas are needed"
    )
    assert message(file, "a\n1,2\n", mapping=both) == (
        "F:2: 2 values where the header names 1 column"
    )


EPOCH = {"s": 1700158526, "ms": 1700158526680, "us": 1700158526680123, "ns": 1700158526680123456}
LENGTHS = {"input": "n", "output": "n"}


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize(
    "log", ["ts,n\n{},5\n{},5\n", '{{"ts": {}, "n": 5}}\n{{"ts": {}, "n": 5}}']
)
def test_times_since_1970_in_a_unit_that_nobody_named(file: Path, unit: str, log: str) -> None:
    time = EPOCH[unit]
    content = log.format(time, time + 10)
    found = message(file, content, mapping={"arrival": "ts", **LENGTHS}).replace("'", "")
    assert found.endswith(
        f"ts: {time} s is beyond the year 5000; in {unit} it is 2023: write arrival=ts:{unit}"
    )
    named = read(file, mapping={"arrival": f"ts:{unit}", **LENGTHS})
    assert named.span_ps == 10 * UNITS[unit]


def test_times_of_no_known_clock_need_their_unit(file: Path) -> None:
    for time in ("123456789012345", "9" * 20):
        found = message(file, f"ts,n\n{time},5\n", mapping={"arrival": "ts", **LENGTHS})
        assert found == (
            f"F:2: column 'ts': '{time}' s is beyond the year 5000; name its unit, as in "
            "arrival=ts:ms"
        )


def test_a_log_that_spans_too_long_in_the_right_unit_gets_no_wrong_advice(file: Path) -> None:
    rows = f"ts,n\n{EPOCH['ms']},5\n{EPOCH['ms'] + 91 * 86_400_000},5\n"
    found = message(file, rows, mapping={"arrival": "ts:ms", **LENGTHS})
    assert found.endswith("is 91 days from the first request; a trace may span 90")


FROM_ZERO = [
    (MOONCAKE.replace(" 0,", f" {EPOCH['ms']},", 1), "F:1: key 'timestamp': ", "timestamp:ms"),
    (VIDUR + f"{EPOCH['s']}.5,1,1\n", "F:3: column 'arrived_at': ", "arrived_at:s"),
    (TOKENS.replace(": 0}", f": {EPOCH['ns']}}}"), "F:1: key 'arrival_t", "arrival_time_ns:ns"),
]


@pytest.mark.parametrize(("content", "where", "role"), FROM_ZERO)
def test_times_since_1970_in_a_format_that_counts_from_0(
    file: Path, content: str, where: str, role: str
) -> None:
    found = message(file, content)
    assert found.startswith(where)
    assert "is 19,677 days from the start; a trace may span 90" in found
    assert found.endswith(f"; read times since 1970 with --map arrival={role},input=…,output=…")
