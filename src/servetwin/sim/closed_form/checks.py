"""What a closed form accepts, told in one line where it does not, and exact sums."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from servetwin.errors import InputError
from servetwin.types.workload import MAX_TOKENS

__all__ = ["check_clock", "exact_sum", "token_column"]

Ints = NDArray[np.int64]

LONGEST_PS = float(2**63 - 2**20)
"""What the clock holds, 106 days, less the rounding of an estimate in floating point."""


def token_column(name: str, values: ArrayLike, least: int = 0) -> Ints:
    """Return token counts as int64.

    Raises InputError for the first that is not a whole number between `least` and MAX_TOKENS.
    """
    column = np.asarray(values)
    if column.ndim != 1:
        column = column.reshape(-1)
    if column.size == 0:
        return np.zeros(0, np.int64)
    if column.dtype == np.bool_ or column.dtype.kind not in "iuf":
        raise InputError(f"{name}: whole numbers are needed, not {column.dtype}")
    # NaN fails every comparison, so the check is that values are right, not that they are wrong.
    if not (column.min() >= least and column.max() <= MAX_TOKENS):
        _complain(name, column, (column >= least) & (column <= MAX_TOKENS), least)
    if column.dtype.kind == "f":
        whole = column == np.floor(column)
        if not whole.all():
            _complain(name, column, whole, least)
    return column.astype(np.int64, copy=False)


def _complain(name: str, column: NDArray[Any], right: NDArray[np.bool_], least: int) -> None:
    row = int(np.argmin(right))
    raise InputError(
        f"{name}, request {row}: {column[row].item()} is not a whole number of tokens between "
        f"{least} and {MAX_TOKENS:,}"
    )


def check_clock(what: str, estimate: NDArray[np.float64]) -> None:
    """Raise InputError for the first request whose estimated picoseconds pass the clock."""
    too_long = estimate >= LONGEST_PS
    if too_long.any():
        row = int(np.argmax(too_long))
        raise InputError(
            f"request {row}: its {what} takes {float(estimate[row]) / 86.4e15:.3g} days, beyond "
            "the 106 days of the clock; shorten its input or output"
        )


def exact_sum(column: NDArray[np.integer[Any]]) -> int:
    """Sum an int64 column without wrapping around: the high and low halves apart."""
    high = int((column >> 32).sum(dtype=np.int64))
    low = int((column & 0xFFFFFFFF).sum(dtype=np.int64))
    return (high << 32) + low
