"""`servetwin study NAME`: the named experiments, each loaded when it is run."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from servetwin.studies.registry import STUDIES


class StudyCommand(TyperCommand):
    """A study that knows its name and purpose, and imports the rest when it is run."""

    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **extra: Any) -> Any:
        assert self.name is not None
        study = STUDIES[self.name]
        app = import_module(f"servetwin.{study.room}.{study.module}").app
        return typer.main.get_command(app).make_context(info_name, args, *rest, **extra)


class Studies(TyperGroup):
    """The studies in the order of STUDIES."""

    def __init__(self, **attributes: Any) -> None:
        studies = {name: StudyCommand(name, help=study.help) for name, study in STUDIES.items()}
        super().__init__(**{**attributes, "commands": studies})


app = typer.Typer(
    cls=Studies,
    add_completion=False,
    rich_markup_mode=None,
    invoke_without_command=True,
)


@app.callback(epilog="servetwin study NAME --help explains a study.")
def _root(context: typer.Context) -> None:
    """Run a named experiment."""
    if context.invoked_subcommand is None:
        print(context.get_help())
