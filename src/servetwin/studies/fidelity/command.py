"""`servetwin study fidelity`: every measured set that is found, predicted and compared."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from servetwin.errors import InputError, nearest

if TYPE_CHECKING:
    from servetwin.studies.fidelity.board import Board

__all__ = ["app", "find_data"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def fidelity(
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder with measured/ and profiles/; else $SERVETWIN_DATA."
        ),
    ] = None,
    sets: Annotated[
        str, typer.Option(metavar="NAME,…", help="Measured sets to score, or all.")
    ] = "all",
    small: Annotated[
        bool, typer.Option("--small", help="A few points of each group, no leave-one-out.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the board as JSON, alone.")] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write tables, figure and page there.")
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Exit with status 1 where an error grew by a tenth."),
    ] = None,
    write_baseline: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the errors for --baseline.")
    ] = None,
) -> None:
    """Predict every measured set that is found, and print how far off the predictions are.

    \b
    servetwin study fidelity --data ../shared/data --out board
    """
    if out is not None and out.exists() and not out.is_dir():
        raise InputError(f"--out {out}: is a file; name a folder")
    folder = find_data(data)
    names = parse_sets(sets)
    from servetwin.studies.fidelity import baseline as baselines
    from servetwin.studies.fidelity.board import build

    known = None if baseline is None else baselines.read_baseline(baseline)
    board = build(folder, names, small, _progress)
    if not board.compared:
        raise InputError(f"{folder}: none of the measured sets is there: {', '.join(names)}")
    if out is not None:
        from servetwin.studies.fidelity.writing import write_board

        files = write_board(board, out)
    _show(board, json)
    if out is not None and not json:
        from servetwin.results.output import written_to

        print(f"\n{written_to(out, files)}")
    if write_baseline is not None:
        baselines.write_baseline(board.scores, write_baseline)
    lines = [] if known is None else baselines.grown(board.scores, known)
    for line in lines:
        print(f"grown: {line}", file=sys.stderr)
    if lines:
        raise typer.Exit(1)


def find_data(data: Path | None) -> Path:
    """The folder of measurements. Raises InputError where there is none."""
    given = data or (Path(os.environ["SERVETWIN_DATA"]) if "SERVETWIN_DATA" in os.environ else None)
    if given is None:
        raise InputError(
            "no measurements: name their folder, which holds measured/ and profiles/, with --data "
            "or SERVETWIN_DATA"
        )
    for part in ("measured", "profiles"):
        if not (given / part).is_dir():
            raise InputError(f"{given}: has no folder {part}/, where measurements would lie")
    return given


def parse_sets(text: str) -> list[str]:
    """Read names of sets between commas, or "all". Raises InputError."""
    from servetwin.studies.fidelity.sets import SETS

    if text.strip().casefold() == "all":
        return list(SETS)
    names = list(dict.fromkeys(part.strip().casefold() for part in text.split(",")))
    for name in names:
        if name not in SETS:
            hint = nearest(name, SETS) or f"known: {', '.join(SETS)}"
            raise InputError(f"--sets '{name[:40]}' is not known: {hint}")
    return names


def _progress(done: int, total: int) -> None:
    """Say on a terminal how far the board is; nothing in a pipe."""
    if sys.stderr.isatty() and (done % 50 == 0 or done == total):
        end = "\n" if done == total else ""
        print(f"\r{done:,} of {total:,} points", end=end, file=sys.stderr, flush=True)


def _show(board: Board, json: bool) -> None:
    if json:
        from servetwin.results.summary import to_json
        from servetwin.studies.fidelity.writing import describe

        print(to_json(describe(board)))
        return
    from servetwin.studies.fidelity.printing import print_board

    print_board(board)
