"""Raw times -> whole picoseconds since the start of the trace."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from servetwin.units import MAX_TIME_PS, PS_PER_MS, PS_PER_NS, PS_PER_S, PS_PER_US
from servetwin.workload.parsing.batch import Batch
from servetwin.workload.parsing.numbers import exact_number
from servetwin.workload.parsing.text import shown

__all__ = ["ISO", "UNITS", "Clock", "Ints", "decimal_text", "duration_ps", "looks_like_iso"]

Ints = NDArray[np.int64]

UNITS = {"s": PS_PER_S, "ms": PS_PER_MS, "us": PS_PER_US, "ns": PS_PER_NS}
"""Picoseconds in each unit of time that a column may be in."""

ISO = 0
"""In place of a unit: the column holds timestamps such as `2023-11-16 18:15:46.6805900`."""

_MAX_DIGITS = 25
"""Times of more whole digits are absurd in any unit (and would lose digits as Decimal)."""

_STAMP = re.compile(
    r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d):(\d\d)(?:[.,](\d{1,12})\d*)? ?(Z|UTC|[+-]\d\d:?\d\d)?",
    re.ASCII,
)
_EPOCH = datetime(1970, 1, 1)
_YEAR = 31_556_952 * PS_PER_S
"""Mean length of a year of the calendar."""


def duration_ps(value: object, unit: int, textual: bool = False) -> int:
    """Convert a number of `unit` picoseconds each to picoseconds, to nearest, ties to even.

    Raises ValueError where `value` is no number or absurdly large.
    """
    if isinstance(value, str) and textual and (plain := _plain_ps(value, unit)) is not None:
        return plain
    number = exact_number(value, textual)
    if number and number.adjusted() > _MAX_DIGITS - len(str(unit)):
        raise ValueError(f"{shown(value)} is absurd as a time")
    if number and number.adjusted() < -50:
        return 0
    return int((number * unit).to_integral_value())


def _plain_ps(text: str, unit: int) -> int | None:
    """Convert text such as `12.5` by its digits alone, several times faster; None if not plain."""
    whole, dot, fraction = text.partition(".")
    digits = len(str(unit)) - 1
    plain = whole.isdecimal() and (fraction.isdecimal() or not dot) and text.isascii()
    if not plain or len(fraction) > digits or len(whole) > _MAX_DIGITS - digits:
        return None
    return int(whole + fraction.ljust(digits, "0"))


def decimal_text(picoseconds: int, unit: int = PS_PER_S) -> str:
    """Write a time in a unit of 10^n picoseconds, exactly and without needless digits."""
    whole, rest = divmod(picoseconds, unit)
    if not rest:
        return str(whole)
    digits = len(str(unit)) - 1
    return f"{whole}.{rest:0{digits}d}".rstrip("0")


def looks_like_iso(value: object) -> bool:
    """Whether a raw value is a timestamp rather than a number."""
    return isinstance(value, str) and bool(re.match(r"\s*\d{4}-\d\d-\d\d", value))


@dataclass
class Clock:
    """Converts one column of arrival times, batch after batch.

    Times count from 0 of the trace's own clock, or, if `relative`, from the first time
    met; later ones may then be negative, and `Collector` shifts the earliest to 0.
    """

    unit: int
    relative: bool = False
    _origin: int | None = None
    _minutes: dict[tuple[str, str], int] = field(default_factory=dict)
    _zoned: bool | None = None

    def arrivals(self, batch: Batch, column: str) -> Ints:
        """Return int64 picoseconds; raises InputError naming the first bad cell."""
        values = batch.columns[column]
        times = self._plain(values)
        if times is None:
            times = []
            for row, value in enumerate(values):
                try:
                    times.append(self._one(value, batch.textual))
                except ValueError as error:
                    problem = self._wrong_unit(batch, row, column) or str(error)
                    raise batch.error(row, column, problem) from None
        return self._since_origin(batch, column, times)

    def _plain(self, values: Any) -> list[int] | None:
        """Convert a column of JSON integers at once, None if it is anything else."""
        if self.unit == ISO or set(map(type, values)) != {int}:
            return None
        if max(values) >= 10**_MAX_DIGITS // self.unit or min(values) < 0:
            return None
        return [value * self.unit for value in values]

    def _one(self, value: object, textual: bool) -> int:
        if self.unit == ISO:
            return self._stamp(value)
        try:
            return duration_ps(value, self.unit, textual)
        except ValueError:
            if not looks_like_iso(value):
                raise
        raise ValueError(f"{shown(value)} is a date where a number is needed")

    def _stamp(self, value: object) -> int:
        match = _STAMP.fullmatch(value.strip()) if isinstance(value, str) else None
        if match is None:
            right = "2023-11-16 18:15:46.6805900"
            raise ValueError(f"{shown(value)} is not a timestamp such as {right}")
        day, minute, second, fraction, zone = match.groups()
        base = self._minutes.get((day, minute))
        if base is None:
            base = self._minutes[day, minute] = _minute_start(day, minute, value)
        if int(second) > 59:
            raise ValueError(f"{shown(value)} has more than 59 seconds")
        if self._zoned is None:
            self._zoned = zone is not None
        elif self._zoned != (zone is not None):
            raise ValueError(f"{shown(value)}: some timestamps name a time zone, others do not")
        picos = int((fraction or "0").ljust(12, "0"))
        return (base + int(second) - _zone_seconds(zone)) * PS_PER_S + picos

    def _since_origin(self, batch: Batch, column: str, times: list[int]) -> Ints:
        if self._origin is None:
            self._origin = times[0] if self.relative and times else 0
            if times and (problem := self._wrong_unit(batch, 0, column)):
                raise batch.error(0, column, problem)
        origin = self._origin
        since = [time - origin for time in times]
        low = -MAX_TIME_PS if self.relative else 0
        if since and not (min(since) >= low and max(since) <= MAX_TIME_PS):
            row = next(i for i, time in enumerate(since) if not low <= time <= MAX_TIME_PS)
            raise batch.error(row, column, self._absurd(batch, row, column, since[row]))
        return np.array(since, dtype=np.int64)

    def _wrong_unit(self, batch: Batch, row: int, column: str) -> str:
        """Tell of a number that is no time in the unit of a mapping, or return "".

        Gaps between milliseconds that are read as seconds may look plausible; their start,
        thousands of years ahead, does not.
        """
        value, textual = batch.columns[column][row], batch.textual
        if not self.relative or self.unit == ISO or _year(value, textual, self.unit) <= 5000:
            return ""
        own = next(name for name, unit in UNITS.items() if unit == self.unit)
        problem = f"{shown(value)} {own} is beyond the year 5000"
        if (unit := _unit_since_1970(value, textual)) is None:
            return f"{problem}; name its unit, as in arrival={column}:ms"
        year = int(_year(value, textual, UNITS[unit]))
        return f"{problem}; in {unit} it is {year}: write arrival={column}:{unit}"

    def _absurd(self, batch: Batch, row: int, column: str, since: int) -> str:
        value = batch.columns[column][row]
        if since < 0 and not self.relative:
            return f"{shown(value)} is negative; times start at 0"
        days = abs(since) // (86_400 * PS_PER_S)
        start = "the first request" if self.relative else "the start"
        problem = f"{shown(value)} is {days:,} days from {start}; a trace may span 90"
        unit = None if self.relative else _unit_since_1970(value, batch.textual)
        if unit is None:
            return problem
        mapping = f"--map arrival={column}:{unit},input=…,output=…"
        return f"{problem}; read times since 1970 with {mapping}"


def _year(value: object, textual: bool, unit: int) -> float:
    """Return the year of a time since 1970, 0 for what is no number."""
    try:
        return 1970 + float(exact_number(value, textual)) * unit / _YEAR
    except (ValueError, OverflowError):
        return 0.0


def _unit_since_1970(value: object, textual: bool) -> str | None:
    """Return the unit in which a number is a time of the years 2000 to 2099."""
    units = (name for name, unit in UNITS.items() if 2000 <= _year(value, textual, unit) < 2100)
    return next(units, None)


def _minute_start(day: str, minute: str, value: object) -> int:
    """Return seconds since 1970 of a minute."""
    try:
        start = datetime.strptime(f"{day} {minute}", "%Y-%m-%d %H:%M")
    except ValueError:
        raise ValueError(f"{shown(value)} is not a date and time of the calendar") from None
    gap = start - _EPOCH
    return gap.days * 86_400 + gap.seconds


def _zone_seconds(zone: str | None) -> int:
    if zone is None or zone in ("Z", "UTC"):
        return 0
    digits = zone[1:].replace(":", "")
    seconds = int(digits[:2]) * 3600 + int(digits[2:]) * 60
    return -seconds if zone[0] == "-" else seconds
