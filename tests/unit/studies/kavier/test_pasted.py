"""Commands as a document prints them become options."""

import io

import pytest

from servetwin.errors import InputError
from servetwin.studies.kavier.pasted import choices, mend, words_of


def test_a_list_becomes_one_value() -> None:
    words = ["--cache", "[pick", "8,", "16]", "--scope", "session"]
    assert mend(words).words == ["--cache", "[pick 8, 16]", "--scope", "session"]


def test_remarks_are_left_out() -> None:
    words = [
        "--rate",
        "[0.1,",
        "1]",
        "which",
        "means",
        "100ms,",
        "1s",
        "--tokens",
        "8",
        "#",
        "none",
        "--x",
        "1",
    ]
    mended = mend(words)
    assert mended.words == ["--rate", "[0.1, 1]", "--tokens", "8", "--x", "1"]
    assert mended.notes == ("--rate: 'which means 100ms, 1s' is a remark, left out",)


def test_a_remark_need_not_begin_with_a_blank() -> None:
    assert mend(["--tokens", "8", "#none", "at", "all", "--x", "#1"]).words == [
        "--tokens",
        "8",
        "--x",
        "#1",
    ]


def test_a_list_without_end_ends_with_the_next_flag() -> None:
    mended = mend(["--llm", "[Llama-3-8B,", "--gpu", "A100"])
    assert mended.words == ["--llm", "[Llama-3-8B,", "--gpu", "A100"]
    assert choices("--llm", mended.words[1]) == ["Llama-3-8B"]
    assert "no end" in mended.notes[0]


def test_dashes_in_names_stand_for_underscores() -> None:
    assert mend(["--kv-cache=on", "--json", "--pue", "-1"]).words == [
        "--kv_cache",
        "on",
        "--json",
        "--pue",
        "-1",
    ]


def test_words_too_many_are_left_for_the_parser_to_refuse() -> None:
    assert mend(["--gpu", "A10", "A100"]).words == ["--gpu", "A10", "A100"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8", ["8"]),
        ("[8, 16]", ["8", "16"]),
        ("[pick 8, 16]", ["8", "16"]),
        ("[pick between on, off]", ["on", "off"]),
        ("[SELECT BETWEEN 0.001, 0.01, 0.1, 1]", ["0.001", "0.01", "0.1", "1"]),
        ("[on, on]", ["on"]),
        ("[pickle, on]", ["pickle", "on"]),
    ],
)
def test_choices(text: str, expected: list[str]) -> None:
    assert choices("--x", text) == expected


@pytest.mark.parametrize("text", ["[]", "[pick]", "[,", "[pick between ]"])
def test_a_list_of_nothing_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="names no value"):
        choices("--x", text)


def test_a_command_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "--llm L \\\n--prompts [pick 8, 16] # sizes\n--trace 'a b.csv'\n"
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert words_of(["-"]) == [
        "--llm",
        "L",
        "--prompts",
        "[pick",
        "8,",
        "16]",
        "--trace",
        "a b.csv",
    ]


def test_an_open_quote_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("--trace 'a"))
    with pytest.raises(InputError, match="no closing quotation"):
        words_of(["-"])
