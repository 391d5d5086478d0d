"""The one exception a user is meant to see."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["InputError", "counted", "nearest"]


class InputError(Exception):
    """A user's mistake, told in one line: what is wrong, where, and what would be right.

    The command line prints the message and exits with status 2. Anything else that
    escapes is a bug and shows its traceback.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


def counted(count: int, noun: str) -> str:
    """Return "1 request", "2 requests" or "19,366 requests" of a noun that takes an s."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def nearest(word: str, known: Iterable[str], count: int = 3) -> str:
    """Return a phrase such as "did you mean A100-80GB or A100-40GB?", or an empty string."""
    folded = {name.casefold(): name for name in known}
    matches = difflib.get_close_matches(word.casefold(), list(folded), n=count, cutoff=0.5)
    names = [folded[match] for match in matches]
    if not names:
        return ""
    return f"did you mean {' or '.join(names)}?"
