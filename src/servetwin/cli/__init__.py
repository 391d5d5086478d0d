"""The command line: one thin file per verb."""

from __future__ import annotations

from servetwin.cli.interrupts import INTERRUPTED, abandon_threads, begin

__all__ = ["main"]


def main(args: list[str] | None = None) -> None:
    """Run the command line and exit, with the statuses that `servetwin.cli.app.main` names."""
    begin()
    from servetwin.cli.app import main as run

    try:
        run(args)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            abandon_threads(INTERRUPTED)
        raise
