"""The summary of a run, for a terminal of 80 columns or a pipe."""

from __future__ import annotations

from textwrap import wrap
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from servetwin.report.facts import facts
from servetwin.report.interval_wording import evidence_lines, interval_lines
from servetwin.report.load_wording import about, load_cells, load_heads, title, verdict
from servetwin.report.wording import (
    LATENCY_ROWS,
    LONGEST_LABEL,
    PERCENTILE_COLUMNS,
    heading,
    latency_cells,
    outcome,
    printable,
)

__all__ = ["print_load_curve", "print_summary", "render"]

INDENT = 2
LABEL_WIDTH = LONGEST_LABEL


def print_summary(summary: dict[str, Any], console: Console) -> None:
    """Print a run's summary; no line is longer than the console, nor than 100 columns."""
    console.print(render(summary, min(console.width, 100)))


def print_load_curve(content: dict[str, Any], console: Console) -> None:
    """Print what `load_curve.json` holds; no line is longer than the console."""
    width = min(console.width, 100)
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="bold")
    above = ""
    for what, unit in load_heads(content):
        table.add_column(f"{'' if what == above else what}\n{unit}", justify="right", no_wrap=True)
        above = what
    for cells in load_cells(content):
        table.add_row(*cells)
    console.print(Text(title(content), style="bold"))
    console.print(Padding(_pairs(about(content), width), (1, 0), expand=False))
    console.print(table)
    console.print(Padding(_pairs(verdict(content), width), (1, 0, 0, 0), expand=False))
    for note in content["notes"]:
        console.print(_pairs({"Note": printable(note)}, width, style="yellow"))


def render(summary: dict[str, Any], width: int = 80) -> RenderableType:
    """Return what `print_summary` prints, laid out for `width` columns.

    Strings of the summary are shown as they are: neither markup nor control characters in
    them have an effect.
    """
    metrics = summary["metrics"]
    about_run = facts(summary) | evidence_lines(summary["provenance"])
    parts: list[RenderableType] = [
        Text(heading(summary), style="bold"),
        Padding(_pairs(about_run, width), (1, 0), expand=False),
        _latencies(metrics),
        Padding(_pairs(interval_lines(metrics) | outcome(metrics), width), (1, 0), expand=False),
    ]
    for note in summary["notes"]:
        parts.append(_pairs({"Note": printable(note)}, width, style="yellow"))
    return Group(*parts)


def _pairs(lines: dict[str, str], width: int, style: str = "cyan") -> RenderableType:
    table = Table.grid(padding=(0, 1))
    table.add_column(width=LABEL_WIDTH, no_wrap=True)
    room = width - INDENT - LABEL_WIDTH - 1
    table.add_column(max_width=room, overflow="fold")
    for label, line in lines.items():
        table.add_row(Text(label, style=style), Text(_broken(line, room)))
    return Padding(table, (0, 0, 0, INDENT), expand=False)


def _broken(line: str, room: int) -> str:
    """Break a line between words, but not before a per cent sign."""
    kept = line.replace(" %", "\N{NO-BREAK SPACE}%")
    rows = wrap(kept, max(room, 1), break_on_hyphens=False, break_long_words=False)
    return "\n".join(rows).replace("\N{NO-BREAK SPACE}", " ")


def _latencies(metrics: dict[str, Any]) -> RenderableType:
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="bold")
    table.add_column("Latency", width=LABEL_WIDTH)
    for name in PERCENTILE_COLUMNS:
        table.add_column(name, justify="right", min_width=7, no_wrap=True)
    table.add_column("")
    for key, label in LATENCY_ROWS.items():
        unit, cells = latency_cells(key, metrics[key])
        table.add_row(Text(label, style="cyan"), *cells, unit)
    return Padding(table, (0, 0, 0, INDENT), expand=False)
