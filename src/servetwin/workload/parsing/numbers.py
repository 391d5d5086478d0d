"""Raw values -> whole numbers, exactly, or an error that names the cell."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from servetwin.types.workload import MAX_TOKENS
from servetwin.workload.parsing.batch import Batch
from servetwin.workload.parsing.text import shown

__all__ = ["PRIORITY", "exact_number", "priorities", "token_counts"]

PRIORITY = "priority"
"""Name of the column of priorities, in formats that may have one."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?", re.ASCII)
_MOST_DIGITS = 400


def token_counts(batch: Batch, column: str, *, zero_as_one: bool = False) -> NDArray[np.int32]:
    """Return a column of token counts between 1 and MAX_TOKENS.

    With `zero_as_one`, 0 is read as 1: the prefill of a request yields its first token,
    so an output of 0 in a trace means that prefill was all that ran.
    """
    values = batch.columns[column]
    least = 0 if zero_as_one else 1
    counts = _plain(values, batch.textual)
    if counts is None or (counts and not (min(counts) >= least and max(counts) <= MAX_TOKENS)):
        counts = []
        for row, value in enumerate(values):
            try:
                counts.append(_count(value, batch.textual, least))
            except ValueError as error:
                raise batch.error(row, column, str(error)) from None
    found = np.array(counts, dtype=np.int32)
    return np.maximum(found, 1) if zero_as_one else found


def priorities(batch: Batch, column: str = PRIORITY) -> NDArray[np.int32] | None:
    """Return a column of whole numbers of 32 bits, 0 for each that is missing.

    None where there is no such column, or nothing in it.
    """
    values = batch.columns.get(column, ())
    if all(value is None or value == "" for value in values):
        return None
    found = np.zeros(len(values), np.int32)
    for row, value in enumerate(values):
        try:
            found[row] = 0 if value in (None, "") else _priority(value, batch.textual)
        except ValueError as error:
            raise batch.error(row, column, str(error)) from None
    return found


def _priority(value: object, textual: bool) -> int:
    number = exact_number(value, textual)
    if number != int(number) or not -(2**31) <= number < 2**31:
        raise ValueError(f"{shown(value)} is not a whole number of 32 bits, as priorities are")
    return int(number)


def _plain(values: Any, textual: bool) -> list[int] | None:
    """Convert a column of plain digits at once; None if any value needs a closer look."""
    if textual:
        plain = all(map(str.isdecimal, values)) and all(map(str.isascii, values))
        if plain and max(map(len, values), default=0) <= 18:
            return list(map(int, values))
        return None
    return list(values) if set(map(type, values)) <= {int} else None


def _count(value: object, textual: bool, least: int) -> int:
    number = exact_number(value, textual)
    if number < 0:
        raise ValueError(f"{shown(value)} is negative; a number of tokens is at least {least}")
    if number > MAX_TOKENS:
        raise ValueError(f"{shown(value)} is above the {MAX_TOKENS:,} tokens a request may have")
    if number != int(number):
        raise ValueError(f"{shown(value)} is not a whole number")
    if number < least:
        raise ValueError(f"{shown(value)} tokens; a request has at least 1")
    return int(number)


def exact_number(value: object, textual: bool) -> Decimal:
    """Return the number as written; raises ValueError that says what `value` is instead.

    A float stands for its shortest decimal text. Text counts as a number only in textual
    formats, where everything is text.
    """
    if isinstance(value, str):
        if not textual:
            raise ValueError(f"{shown(value)} is text where a number is needed")
        return _from_text(value)
    if value is None:
        raise ValueError("null where a number is needed")
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        kind = {bool: "true or false", list: "a list", dict: "an object"}
        what = kind.get(type(value), f"a {type(value).__name__}")
        raise ValueError(f"{what} where a number is needed")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is not a finite number")
    if isinstance(value, int):
        if value.bit_length() > 1000:
            raise ValueError("a whole number of more than 300 digits is absurd")
        return Decimal(value)
    return value if isinstance(value, Decimal) else Decimal(repr(value))


def _from_text(value: str) -> Decimal:
    text = value.strip()
    if not text:
        raise ValueError("empty where a number is needed")
    if len(text) > _MOST_DIGITS or not _NUMBER.fullmatch(text):
        raise ValueError(f"{shown(text)} is not a number")
    return Decimal(text)
