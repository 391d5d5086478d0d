"""A figure that is constant or changes by the hour: carbon intensity, electricity, GPU price."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from servetwin.errors import InputError

__all__ = ["LARGEST", "HourlySeries", "read_rate"]

Floats = NDArray[np.float64]
MAX_ROWS = 1_000_000
LARGEST = 1e9
"""Most of a figure, and hours of a series; more is taken for a slip."""


@dataclass(frozen=True)
class HourlySeries:
    """Values that hold from one start to the next. Time 0 is the start of the simulation.

    The last value holds as long as the one before it (one hour, where it is alone). Then
    the series starts again.
    """

    starts: tuple[float, ...]
    """Hours, ascending, the first 0."""
    values: tuple[float, ...]
    name: str = "series"
    """What to call it in an error: the file it came from."""

    def __post_init__(self) -> None:
        if not self.values or len(self.starts) != len(self.values):
            raise InputError(f"{self.name}: a series needs at least one hour, each with a value")
        if self.starts[0] != 0 or not np.all(np.diff(self.starts) > 0):
            raise InputError(f"{self.name}: hours must start at 0 and ascend")
        if self.starts[-1] > LARGEST:
            raise InputError(f"{self.name}: hours must not exceed {LARGEST:g}")
        if not all(0 <= value <= LARGEST for value in self.values):
            raise InputError(f"{self.name}: values must lie between 0 and {LARGEST:g}")

    @property
    def hours(self) -> float:
        """Length of the series."""
        last = self.starts[-1] - self.starts[-2] if len(self.starts) > 1 else 1.0
        return self.starts[-1] + last

    def mean(self, begin: ArrayLike, end: ArrayLike) -> Floats:
        """Exact mean over each interval from `begin` to `end`, both seconds, begin < end."""
        first = np.asarray(begin, dtype=np.float64) / 3600.0
        last = np.asarray(end, dtype=np.float64) / 3600.0
        return np.asarray((self._integral(last) - self._integral(first)) / (last - first))

    def _integral(self, hour: Floats) -> Floats:
        """Integral from 0 to `hour`, over as many rounds as that takes."""
        edges = np.append(self.starts, self.hours)
        sums = np.concatenate(([0.0], np.cumsum(np.diff(edges) * np.array(self.values))))
        rounds = np.floor(hour / self.hours)
        return np.asarray(rounds * sums[-1] + np.interp(hour - rounds * self.hours, edges, sums))


def read_rate(text: str, what: str) -> float | HourlySeries:
    """A number, or the path of a CSV file with two columns.

    The first column holds hours from the start (0, 1, 2, …; fractions allowed) or ISO 8601
    timestamps, of which the first is time 0; the second holds the values. A first line that
    names the columns is skipped. Raises InputError with file and line for anything else.
    """
    try:
        number = float(text)
    except ValueError:
        return _read_series(text, what)
    if not 0 <= number <= LARGEST:
        raise InputError(f"{what} {text}: must be a number from 0 to {LARGEST:g}, or a CSV file")
    return number


def _read_series(text: str, what: str) -> HourlySeries:
    path = Path(text)
    if not path.is_file():
        raise InputError(f"{what} '{text[:200]}': neither a number nor a CSV file that exists")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            filled = ((n, row) for n, row in enumerate(csv.reader(file), 1) if any(row))
            rows = list(islice(filled, MAX_ROWS + 1))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{what} '{path}': cannot be read as CSV: {error}") from error
    if len(rows) > MAX_ROWS:
        raise InputError(f"{what} '{path}': more than {MAX_ROWS:,} lines, at most a figure an hour")
    if rows and _is_header(rows[0][1]):
        rows = rows[1:]
    if not rows:
        raise InputError(f"{what} '{path}': no rows; expected lines such as 0,350.5")
    pairs = [_row(path, line, row) for line, row in rows]
    starts = _hours(path, [line for line, _ in rows], [start for start, _ in pairs])
    return HourlySeries(starts, tuple(value for _, value in pairs), str(path))


def _is_header(row: Sequence[str]) -> bool:
    """Whether neither cell can be data."""
    return all(_number(cell) is None and _time(cell) is None for cell in row[:2])


def _row(path: Path, line: int, row: Sequence[str]) -> tuple[float | datetime, float]:
    if len(row) != 2:
        raise InputError(f"{path}, line {line}: {len(row)} columns; expected hour,value")
    start: float | datetime | None = _number(row[0])
    if start is None:
        start = _time(row[0])
    value = _number(row[1])
    if start is None:
        raise InputError(
            f"{path}, line {line}: '{row[0]}' is neither an hour nor a timestamp such as "
            "2025-01-31T13:00:00+00:00"
        )
    if value is None or value < 0:
        raise InputError(f"{path}, line {line}: '{row[1]}' must be a number, not negative")
    return start, value


def _hours(path: Path, lines: list[int], starts: list[float | datetime]) -> tuple[float, ...]:
    first = starts[0]
    hours: list[float] = []
    for line, start in zip(lines, starts, strict=True):
        if isinstance(start, datetime) and isinstance(first, datetime):
            if (start.tzinfo is None) != (first.tzinfo is None):
                raise InputError(f"{path}, line {line}: some timestamps have a time zone, some not")
            hour = (start - first).total_seconds() / 3600.0
        elif isinstance(start, float) and isinstance(first, float):
            hour = start
        else:
            raise InputError(f"{path}, line {line}: hours and timestamps are mixed")
        if (hour != 0) if not hours else (hour <= hours[-1]):
            right = "0" if not hours else f"more than {hours[-1]:g}"
            raise InputError(f"{path}, line {line}: hour {hour:g} must be {right}")
        hours.append(hour)
    return tuple(hours)


def _number(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _time(cell: str) -> datetime | None:
    try:
        return datetime.fromisoformat(cell.strip())
    except ValueError:
        return None
