"""The command line: one thin file per verb."""

from servetwin.cli.app import main

__all__ = ["main"]
