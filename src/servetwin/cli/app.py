"""The program `servetwin`: its verbs, loaded when they are used, and how it ends."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from servetwin import __version__
from servetwin.cli.console import StdoutLostError, guarded_stdout, tell
from servetwin.cli.interrupts import INTERRUPTED, at_once, in_order
from servetwin.errors import InputError

__all__ = ["VERBS", "main"]

VERBS = {
    "simulate": "Simulate a workload on a deployment.",
    "workload": "Show, convert or generate workloads.",
    "catalog": "List models, GPUs and links.",
    "report": "Write report.html again from the files of a run.",
    "study": "Run a named experiment.",
    "calibrate": "Measure this machine.",
    "doctor": "Check this machine and installation.",
}
"""Each verb is the `app` of the module of its name in this folder."""


PLAIN = {
    "Input should be a valid integer, unable to parse string as an integer": "must be a whole "
    "number",
    "Input should be a valid number, unable to parse string as a number": "must be a number",
}


class Verb(TyperCommand):
    """A verb that knows its name and purpose, and imports the rest when it is called."""

    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **extra: Any) -> Any:
        with at_once():
            app = import_module(f"servetwin.cli.{self.name}").app
        return typer.main.get_command(app).make_context(info_name, args, *rest, **extra)


class Verbs(TyperGroup):
    """The verbs in the order of VERBS."""

    def __init__(self, **attributes: Any) -> None:
        verbs = {name: Verb(name, help=text) for name, text in VERBS.items()}
        super().__init__(**{**attributes, "commands": verbs})


program = typer.Typer(
    cls=Verbs,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@program.callback(epilog="servetwin VERB --help explains a verb.")
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """A digital twin for LLM serving."""
    if version:
        print(f"servetwin {__version__}")
    elif context.invoked_subcommand is None:
        print(context.get_help())


def main(args: list[str] | None = None) -> None:
    """Run the command line and exit.

    With 0, 2 for a user's mistake or output that cannot be written, 130 after Ctrl-C, and 1,
    silently, where the reader of a pipe has left.
    """
    try:
        with in_order(), guarded_stdout():
            status = _run(sys.argv[1:] if args is None else args)
    except StdoutLostError as lost:
        if isinstance(lost.reason, BrokenPipeError):
            sys.exit(1)  # the reader has what it wanted
        from servetwin.results.output import reason_of

        status = _fail(f"cannot write to stdout: {reason_of(lost.reason)}")
    sys.exit(status)


def _run(args: list[str]) -> int:
    try:
        result = typer.main.get_command(program).main(
            args, prog_name="servetwin", standalone_mode=False
        )
    except InputError as error:
        return _fail(str(error))
    except typer.TyperException as error:
        return _fail(_plain(error.format_message()))
    except (KeyboardInterrupt, typer.Abort):
        result = INTERRUPTED
    if result == INTERRUPTED:
        tell("servetwin: interrupted")
    return result if isinstance(result, int) else 0


def _plain(message: str) -> str:
    """Say in plain words what typer has from pydantic."""
    for theirs, ours in PLAIN.items():
        message = message.replace(theirs, ours)
    return message


def _fail(message: str) -> int:
    tell(f"servetwin: error: {' '.join(message.split())}")
    return 2
