"""Requests of DéjàVu's simulators: traces, stand-ins, arrivals."""

from __future__ import annotations

from pathlib import Path

import pytest

from servetwin.errors import InputError
from servetwin.studies.dejavu.requests import find_trace, read_arrivals


def test_tokens_are_moved_between_2_and_1000(tmp_path: Path) -> None:
    trace = tmp_path / "t.json"
    trace.write_text("[[10, 0], [20, 1], [30, 5], [40, 1000], [50, 1500]]")
    found = find_trace(trace, 512)
    assert found.rounds.tolist() == [2, 2, 5, 1000, 1000]
    assert found.workload.input_tokens.tolist() == [10, 20, 30, 40, 50]
    assert found.notes == ("1 request cut to 1,000 generated tokens",)


def test_only_the_first_requests_are_taken_and_the_notes_say_so(tmp_path: Path) -> None:
    trace = tmp_path / "t.json"
    trace.write_text(f"[{', '.join(['[5, 7]'] * 600)}]")
    found = find_trace(trace, 512)
    assert found.rounds.size == 512
    assert "only the first 512 of 600" in found.notes[0]
    assert find_trace(trace, 0).rounds.size == 600


def test_the_unpublished_trace_has_a_stand_in(tmp_path: Path) -> None:
    found = find_trace(tmp_path / "datasets" / "lmsys_tokens.json", 256)
    assert found.rounds.size == 256
    assert "does not exist; instead: 512 requests" in found.notes[0]
    again = find_trace(Path("lmsys_tokens.json"), 256)
    assert again.rounds.tolist() == found.rounds.tolist()


def test_another_missing_trace_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no such file; lmsys_tokens\.json stands for"):
        find_trace(tmp_path / "other.json", 10)
    with pytest.raises(InputError, match="give --trace_file FILE"):
        find_trace(None, 10)


@pytest.mark.parametrize(
    "text",
    ["[0, 1.5, 3]", '{"unit": "us", "arrivals": [0.0, 1.5, 3]}', "0\n1.5\n3\n", "0 1.5 3 9"],
)
def test_arrivals_in_every_form(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    arrivals, notes = read_arrivals(path, 3)
    assert arrivals.tolist() == [0.0, 1.5, 3.0]
    assert len(notes) == ("9" in text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[0, 1]", "2 arrivals for 3 requests"),
        ("[0, -1, 2]", "arrival 2, -1 µs, must be 0 or more"),
        ('[0, "x", 2]', "arrival 2, 'x', is not a number"),
        ("[0, true, 2]", "arrival 2, 'True', is not a number"),
        ("[0, 1e999, 2]", "must be 0 or more"),
        ('{"unit": "ms", "arrivals": [0, 1, 2]}', "must be in us, not 'ms'"),
        ('{"times": [0, 1, 2]}', "needs a list of arrivals"),
        ("[0, 1", "ends too early"),
        ("[]", "0 arrivals for 3 requests"),
        ("", "the file is empty"),
    ],
)
def test_bad_arrivals(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(InputError) as told:
        read_arrivals(path, 3)
    assert message in str(told.value)
