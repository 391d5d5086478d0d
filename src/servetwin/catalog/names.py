"""Matching of names as people write them, for models and hardware alike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from servetwin.errors import InputError, nearest

__all__ = ["fold", "look_up", "name_index"]

Entry = TypeVar("Entry")

_IGNORED = str.maketrans("", "", " -_\t")


def fold(name: str) -> str:
    """Drop what does not matter in a name: case, spaces, dashes and underscores."""
    return name.strip().casefold().translate(_IGNORED)


def name_index(named: Iterable[tuple[Iterable[str], Entry]]) -> dict[str, Entry]:
    """Map every folded name to its entry.

    Raises ValueError where two different entries share a name: a fault of the data.
    """
    index: dict[str, Entry] = {}
    for names, entry in named:
        for folded in _folded(names):
            if folded in index and index[folded] is not entry:
                raise ValueError(f"two catalog entries answer to {folded!r}")
            index[folded] = entry
    return index


def _folded(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        yield fold(name)


def look_up(
    name: str, index: Mapping[str, Entry], *, what: str, known: Iterable[str], more: str
) -> Entry:
    """Find the entry of a name, or raise InputError with the nearest of the `known` names.

    `what` is the noun of the message ("model"), `more` the command that lists them all.
    """
    entry = index.get(fold(name))
    if entry is not None:
        return entry
    hint = nearest(name, known) or f"{more} lists the known ones"
    raise InputError(f"unknown {what} {name[:80]!r}: {hint}")
