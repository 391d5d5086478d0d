"""Commands as the reproducibility document prints them: lists of choices, remarks, no quotes.

There a value may be `[pick 8, 16]`, `[SELECT BETWEEN 0.1, 1] which means 100ms, 1s`, a list
that nobody closed (`[Llama-3-8B,`), or a value with a remark behind it (`... # no cache`). A
shell cuts all that into words; here the words become options again.
"""

from __future__ import annotations

import re
import shlex
import sys
from dataclasses import dataclass

from servetwin.errors import InputError

__all__ = ["Pasted", "choices", "mend", "words_of"]

LEAD = re.compile(
    r"\A(?:(?:pick|select|choose)\b)?\s*(?:(?:between|one of|from)\b)?\s*", re.IGNORECASE
)
MOST_CHARACTERS = 100_000
REMARK = "#"


@dataclass(frozen=True)
class Pasted:
    """Words that an option parser understands, and what was done to get them."""

    words: list[str]
    notes: tuple[str, ...]


def words_of(arguments: list[str]) -> list[str]:
    """Replace a lone `-` by the words on standard input, where lines may end in a backslash."""
    if arguments != ["-"]:
        return arguments
    text = sys.stdin.read(MOST_CHARACTERS + 1)
    if len(text) > MOST_CHARACTERS:
        raise InputError("the command on standard input is too long to be one")
    try:
        return shlex.split(re.sub(r"\\\r?\n", " ", text), comments=True)
    except ValueError as error:
        raise InputError(f"the command on standard input: {str(error).lower()}") from None


def mend(words: list[str]) -> Pasted:
    """Give each option one value: lists joined with blanks, remarks left out.

    Dashes in the name of an option may stand for underscores.
    """
    mended: list[str] = []
    notes: list[str] = []
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if not word.startswith("--"):
            mended.append(word)
            continue
        end = at
        while end < len(words) and not words[end].startswith("--"):
            end += 1
        name, equals, value = word.partition("=")
        name = name.replace("-", "_").replace("__", "--", 1)
        values = [value, *words[at:end]] if equals else words[at:end]
        mended.append(name)
        mended += _one_value(name, values, notes)
        at = end
    return Pasted(mended, tuple(notes))


def _one_value(name: str, values: list[str], notes: list[str]) -> list[str]:
    """Return the value of an option as one word, or what the parser should complain about."""
    remark = (at for at, word in enumerate(values) if at and word.startswith(REMARK))
    values = values[: next(remark, None)]
    if not values or not values[0].startswith("["):
        return values
    closed = next((at for at, word in enumerate(values) if word.endswith("]")), None)
    if closed is None:
        notes.append(f"{name}: the list has no end, taken as {' '.join(values)}]")
    elif values[closed + 1 :]:
        notes.append(f"{name}: '{' '.join(values[closed + 1 :])}' is a remark, left out")
    return [" ".join(values[: None if closed is None else closed + 1])]


def choices(name: str, text: str) -> list[str]:
    """Read `8` as one choice and `[pick 8, 16]` as two, without repetitions."""
    if not text.startswith("["):
        return [text]
    inner = text[1:].removesuffix("]")
    found = [part.strip() for part in LEAD.sub("", inner, count=1).split(",")]
    found = list(dict.fromkeys(part for part in found if part))
    if not found:
        raise InputError(f"{name} '{text}': the list names no value, as in [pick 8, 16]")
    return found
