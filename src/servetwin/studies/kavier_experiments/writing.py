"""An experiment's files and its page for the terminal, the same for all of them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from servetwin.errors import InputError
from servetwin.report.wording import formatted
from servetwin.studies.kavier_experiments.outcome import Column, Outcome, Row, Table

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["check_out", "deliver", "describe"]

SCHEMA = "servetwin.kavier_experiment/1"
WIDTH = 80
MOST_CHECKS = 24
"""Checks that passed are listed up to here; the failed ones always."""


def check_out(out: Path | None) -> None:
    """Raise InputError where `--out` cannot be a folder, before anything is computed."""
    if out is not None and out.exists() and not out.is_dir():
        raise InputError(f"--out {out}: is a file; name a folder")


def deliver(outcome: Outcome, out: Path | None, json: bool) -> None:
    """Write the files, if asked to, and print the page or, with `json`, the JSON alone."""
    from servetwin.results.summary import to_json

    files = _write(outcome, out) if out is not None else []
    if json:
        print(to_json(describe(outcome)))
        return
    from rich.console import Console

    console = Console(highlight=False)
    console.width = min(console.width, WIDTH)
    _print(outcome, console)
    if out is not None:
        console.print(f"\nWritten to {out}/: {', '.join(files)}", markup=False)


def describe(outcome: Outcome) -> dict[str, Any]:
    """Return the content of the JSON file."""
    return {
        "schema": SCHEMA,
        "study": outcome.study,
        "title": outcome.title,
        **outcome.about,
        "published": {
            "passed": outcome.passed,
            "checks": [check.row() for check in outcome.checks],
        },
        "tables": {name: list(table.rows) for name, table in outcome.tables.items()},
        "notes": list(outcome.notes),
    }


def _write(outcome: Outcome, out: Path) -> list[str]:
    """Write all files or none; the JSON, last, marks them as complete."""
    from servetwin.report import figures
    from servetwin.results.output import Writer, write_together
    from servetwin.results.summary import to_json

    stem = outcome.study
    tables = {name: table.rows for name, table in outcome.tables.items()}
    if outcome.checks:
        tables["published"] = [check.row() for check in outcome.checks]
    writers: dict[str, Writer] = {
        f"{stem}-{name}.csv": partial(_write_csv, rows) for name, rows in tables.items()
    }
    for name, build in outcome.charts.items():
        chart = build()
        for kind in ("png", "html"):
            writers[f"{stem}-{name}.{kind}"] = partial(figures.save, chart)
    text = to_json(describe(outcome)) + "\n"
    writers[f"{stem}.json"] = lambda path: path.write_text(text, encoding="utf-8")
    write_together(out, writers, ())
    return list(writers)


def _write_csv(rows: Sequence[Row], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def _print(outcome: Outcome, console: Console) -> None:
    console.print(outcome.title, style="bold", markup=False)
    for table in outcome.tables.values():
        console.print(f"\n{table.title}", markup=False)
        console.print(_grid(table))
    _print_checks(outcome, console)
    if outcome.notes:
        console.print()
    for note in outcome.notes:
        console.print(f"note: {note}", markup=False)


def _print_checks(outcome: Outcome, console: Console) -> None:
    if not outcome.checks:
        console.print("\nNot compared with what was published.", markup=False)
        return
    failed = [check for check in outcome.checks if not check.passed]
    listed = outcome.checks if len(outcome.checks) <= MOST_CHECKS else failed
    verdict = "FAIL" if failed else "PASS"
    met = len(outcome.checks) - len(failed)
    text = f"\n{verdict}: {met} of {len(outcome.checks)} targets are met"
    console.print(text, style="bold", markup=False)
    if not listed:
        return
    columns = (
        Column("what", "figure"),
        Column("target", "target"),
        Column("found", "found"),
        Column("verdict", ""),
    )
    rows = [
        {
            "what": f"{check.what} ({check.unit})" if check.unit else check.what,
            "target": f"{'< ' * check.below}{check.target:,.{_digits(check.tolerance)}f}",
            "found": f"{check.found:,.{_digits(check.tolerance)}f}",
            "verdict": "ok" if check.passed else "MISSED",
        }
        for check in listed
    ]
    console.print(_grid(Table("", rows, columns)))


def _digits(tolerance: float) -> int:
    return 3 if 0 < tolerance < 0.005 else 2


def _grid(table: Table) -> Any:
    from rich.table import Table as Grid

    grid = Grid(box=None, padding=(0, 1), pad_edge=False, header_style="bold")
    for number, column in enumerate(table.shown):
        grid.add_column(column.head, justify="left" if number == 0 else "right", overflow="fold")
    for row in table.rows:
        grid.add_row(*(_cell(row[column.key], column.format) for column in table.shown))
    return grid


def _cell(value: Any, specification: str) -> str:
    if value is None:
        return "-"
    if specification.endswith("f"):
        return formatted(value, specification)
    return format(value, specification) if specification else str(value)
