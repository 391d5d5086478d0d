"""Numbers and text as reports show them."""

from __future__ import annotations

__all__ = ["ABSENT", "formatted", "number", "printable"]

ABSENT = "-"


def printable(text: object) -> str:
    """Return `text` on one line without control characters, which could steer a terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(text))


def number(value: float | None, digits: int = 3) -> str:
    """Format with at least `digits` significant digits, and commas between thousands."""
    if value is None:
        return ABSENT
    if value == 0 or isinstance(value, int):
        return f"{value:,}"
    size = abs(value)
    if not 0.1 <= size < 1e7:
        return f"{value:.{digits}g}"
    before_point = len(str(int(size))) if size >= 1 else 0
    return f"{value:,.{max(digits - before_point, 0)}f}"


def formatted(value: float, specification: str) -> str:
    """Format with the decimals of `,.2f`, or three digits where two of them would be lost.

    So a small figure in a column of large ones does not look like nothing.
    """
    decimals = int(specification.rpartition(".")[2].removesuffix("f"))
    if value != 0 and abs(value) < 10.0 ** (1 - decimals):
        return f"{value:#.3g}"
    return format(value, specification)
