"""The errors that a change may not make worse, as a committed TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path

from servetwin.errors import InputError
from servetwin.studies.fidelity.scores import Score

__all__ = ["grown", "read_baseline", "write_baseline"]

GROWTH = 1.1
"""An error may grow by a tenth."""
SLACK = 0.002
"""And by this much whatever it is, so that errors near 0 do not fail by rounding."""

HEADER = """\
# Median absolute errors of the small scoreboard, by group and metric. After a change that is
# meant to move them, write this file again:
#   servetwin study fidelity --small --data DIR --write-baseline tests/fidelity/scoreboard.toml
"""


def read_baseline(path: Path) -> dict[str, float]:
    """Errors by group and metric. Raises InputError for a file that is none of ours."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: no baseline can be read: {error}") from None
    if not all(isinstance(value, float) for value in table.values()):
        raise InputError(f"{path}: a baseline holds one number for each group and metric")
    return table


def write_baseline(scores: Sequence[Score], path: Path) -> None:
    """Write the held-out errors of a board."""
    from servetwin.results.output import replace_file

    rows = [f'"{_key(row)}" = {row.median:.4f}' for row in scores if not row.fitted]
    text = HEADER + "\n" + "\n".join(rows) + "\n"
    replace_file(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def grown(scores: Sequence[Score], baseline: dict[str, float]) -> list[str]:
    """One line for each error that has grown too much, and for each that has gone missing."""
    found = {_key(row): row.median for row in scores if not row.fitted}
    lines = [f"{key}: no longer on the board" for key in baseline if key not in found]
    for key, median in found.items():
        if key not in baseline:
            lines.append(f"{key}: {median:.1%} has no baseline yet")
        elif median > baseline[key] * GROWTH + SLACK:
            lines.append(f"{key}: {median:.1%}, was {baseline[key]:.1%}")
    return lines


def _key(row: Score) -> str:
    return f"{row.group} | {row.metric}"
