"""What an experiment came to: tables, figures, and how it compares with what was published."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from servetwin.report.figures import Chart

__all__ = ["Check", "Column", "Outcome", "Row", "Table"]

Row = dict[str, Any]
"""One row of a table: plain values by the name of their column; None where there is none."""


@dataclass(frozen=True)
class Check:
    """A value found beside its target."""

    what: str
    unit: str
    found: float
    target: float
    tolerance: float = 0.0
    below: bool = False
    """The target is a bound to stay below, not a value to meet within the tolerance."""

    @property
    def passed(self) -> bool:
        """Whether the target is met."""
        if self.below:
            return self.found < self.target
        # Values are printed to the tolerance's own digits, so its last bits do not count.
        return abs(self.found - self.target) <= self.tolerance * (1 + 1e-9) + 1e-12

    def row(self) -> Row:
        """The check as plain values."""
        return {
            "what": self.what,
            "unit": self.unit,
            "target": self.target,
            "relation": "below" if self.below else "equal",
            "tolerance": self.tolerance,
            "found": self.found,
            "passed": self.passed,
        }


@dataclass(frozen=True)
class Column:
    """How the terminal shows one column."""

    key: str
    head: str
    format: str = ""
    """Format specification; "" for text."""


@dataclass(frozen=True)
class Table:
    """Rows of equal keys. Files hold all of them, the terminal the `shown` ones."""

    title: str
    rows: Sequence[Row]
    shown: Sequence[Column]


@dataclass(frozen=True)
class Outcome:
    """Everything one experiment writes and prints."""

    study: str
    """As on the command line: kavier-2."""
    title: str
    about: Row
    """Trace, models and settings."""
    tables: Mapping[str, Table]
    checks: Sequence[Check]
    """Against what was published; empty where it does not apply (another trace, a slice)."""
    charts: Mapping[str, Callable[[], Chart]]
    """Built when they are written."""
    notes: Sequence[str] = field(default_factory=tuple)

    @property
    def passed(self) -> bool | None:
        """Whether all checks passed; None without any."""
        return all(check.passed for check in self.checks) if self.checks else None
