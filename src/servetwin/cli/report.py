"""`servetwin report`: the page again, from the files of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from servetwin.cli.options import PanelCommand

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(cls=PanelCommand)
def report(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder that a run was written to.")
    ],
    slo: Annotated[
        str | None,
        typer.Option(metavar="LIMITS", help="Other objectives than those of the run."),
    ] = None,
) -> None:
    """Write report.html again from the files of a run."""
    from servetwin.report.html import write_report
    from servetwin.results import parse_slo, read_run

    run = read_run(folder)
    saved = run.config.get("slo")
    if slo is None and isinstance(saved, dict):
        slo = ",".join(f"{name}={limit}" for name, limit in saved.items())
    page = folder / "report.html"
    write_report(run, page, None if slo is None else parse_slo(slo))
    print(f"Written to {page}")
