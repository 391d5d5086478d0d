"""`servetwin workload`: look at requests, change their format, make new ones."""

from __future__ import annotations

import json as json_text
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from servetwin.cli.console import stdout
from servetwin.cli.options import PanelCommand, takes_settings
from servetwin.errors import InputError, counted

if TYPE_CHECKING:
    from servetwin.types import Workload

app = typer.Typer(add_completion=False, rich_markup_mode=None, invoke_without_command=True)

To = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Format to write: servetwin, azure, mooncake, vidur, …"),
]
Drop = Annotated[
    bool,
    typer.Option("--drop", help="Leave out session ids and block hashes that do not fit."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, alone.")]

SUFFIXES = {".parquet": "servetwin", ".csv": "azure", ".jsonl": "mooncake", ".json": "dejavu"}
"""Format by the name of the file to write, where none is given."""


@app.callback()
def _root(context: typer.Context) -> None:
    """Show, convert or generate workloads."""
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command(cls=PanelCommand)
@takes_settings("Workload")
def show(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="The same as --trace.")
    ] = None,
    json: Json = False,
    **flags: Any,
) -> None:
    """Describe a trace, or what a generator would make."""
    from servetwin.workload import summarize

    workload = _workload(file, flags)
    summary = summarize(workload)
    if json:
        print(json_text.dumps(summary, indent=2))
        return
    _print_summary(summary)
    _print_notes(workload)


@app.command(cls=PanelCommand)
@takes_settings("Workload")
def convert(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The trace to read.")],
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="The file to write.")],
    to: To = None,
    drop: Drop = False,
    **flags: Any,
) -> None:
    """Write a trace in another format; --rps and --requests change it on the way."""
    _write(_workload(file, flags), target, to, drop)


@app.command(cls=PanelCommand)
@takes_settings("Workload")
def generate(
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="The file to write.")],
    to: To = None,
    drop: Drop = False,
    **flags: Any,
) -> None:
    """Write generated requests: --workload PRESET, or --isl, --osl and --arrivals."""
    _write(_workload(None, flags), target, to, drop)


def _workload(file: Path | None, flags: dict[str, Any]) -> Workload:
    from servetwin.cli.build_workload import build_workload
    from servetwin.cli.layers import load_settings

    if file is not None:
        if flags["trace"] is not None:
            raise InputError(f"{file} and --trace {flags['trace']}: name one trace")
        flags = {**flags, "trace": str(file)}
    return build_workload(load_settings(flags).settings)


def _write(workload: Workload, target: Path, to: str | None, drop: bool) -> None:
    from servetwin.workload import write

    chosen = to or SUFFIXES.get(target.suffix.lower())
    if chosen is None:
        raise InputError(f"{target}: name the format to write (--to servetwin)")
    write(workload, target, chosen, drop=drop)
    print(f"Written to {target} ({chosen}): {counted(len(workload), 'request')}")
    _print_notes(workload)


def _print_notes(workload: Workload) -> None:
    for note in workload.notes:
        stdout().print(f"Note: {note}", style="yellow", markup=False)


def _print_summary(summary: dict[str, Any]) -> None:
    from rich.table import Table

    console = stdout()
    console.print(f"{summary['dataset']} ({summary['source']})\n", style="bold", markup=False)
    facts = Table.grid(padding=(0, 2))
    rate, what = summary["rps"], "sessions" if summary["follow_ups"] else "requests"
    facts.add_row("Requests", f"{summary['requests']:,}")
    facts.add_row("Rate", "all at once" if rate is None else f"{rate:.4g} {what}/s")
    facts.add_row("Span", f"{summary['span_s']:,.1f} s")
    if summary["sha256"] is not None:
        facts.add_row("SHA-256", f"begins with {summary['sha256']}")
    if summary["follow_ups"]:
        facts.add_row("Follow-ups", f"{summary['follow_ups']:,} wait for an answer (closed loop)")
    if summary["sessions"] is not None:
        facts.add_row("Sessions", f"{summary['sessions']:,}")
    if (blocks := summary["block_hashes"]) is not None:
        text = f"{blocks['distinct']:,} distinct of {blocks['references']:,}"
        facts.add_row("Prefix blocks", f"{text}, {blocks['block_tokens']} tokens each")
    if (classes := summary.get("priorities")) is not None:
        shown = ", ".join(f"{count:,} of {number}" for number, count in classes.items())
        facts.add_row("Priorities", shown)
    console.print(facts)
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="bold")
    table.add_column("\nTokens", width=14)
    for head in ("mean", "p50", "p90", "p99", "max", "total"):
        table.add_column(f"\n{head}", justify="right", min_width=8)
    for name in ("input_tokens", "output_tokens"):
        values = [f"{value:,.0f}" for value in summary[name].values()]
        table.add_row(name.partition("_")[0], *values)
    console.print(table)
