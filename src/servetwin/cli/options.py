"""Options of a verb, made from the fields of RunSettings, so that they cannot disagree."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from typing import Annotated, Any

import typer
from pydantic.fields import FieldInfo
from typer.core import TyperCommand

from servetwin.cli.settings import REPEATED, RunSettings

__all__ = ["PanelCommand", "flag_of", "takes_settings"]

Verb = Callable[..., None]

NAMES_WIDTH = 32
"""Columns for the names of options in `--help`; a longer name gets a line of its own."""


class PanelCommand(TyperCommand):
    """A verb whose `--help` groups its options under headings and never cuts a name."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        panels: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                title = getattr(parameter, "rich_help_panel", None) or "Options"
                panels.setdefault(title, []).append(record)
        # What every verb has comes last.
        panels["Options"] = panels.pop("Options", [])
        for title, records in panels.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records, col_max=NAMES_WIDTH)


def flag_of(name: str) -> str:
    """Name of the flag of a field: max_num_seqs -> --max-num-seqs."""
    return "--" + name.replace("_", "-")


def takes_settings(*panels: str, without: Collection[str] = ()) -> Callable[[Verb], Verb]:
    """Add the options of these panels of RunSettings to a verb, as keyword arguments.

    `without` names fields that the verb decides itself. All but switches arrive as the text
    that was typed, None where nothing was: RunSettings judges them, in the same words as it
    judges a file.
    """

    def decorate(verb: Verb) -> Verb:
        own = [
            parameter
            for parameter in inspect.signature(verb, eval_str=True).parameters.values()
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD
        ]
        added = [
            _parameter(name, field)
            for panel in panels
            for name, field in RunSettings.model_fields.items()
            if _extra(field)["panel"] == panel and name not in without
        ]
        parameters = [*own, *added]
        verb.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        verb.__annotations__ = {item.name: item.annotation for item in parameters}
        return verb

    return decorate


def _extra(field: FieldInfo) -> dict[str, Any]:
    extra = field.json_schema_extra
    assert isinstance(extra, dict)
    return extra


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    extra = _extra(field)
    switch = not extra["metavar"]
    flag = flag_of(name)
    option = typer.Option(
        f"{flag}/--no-{flag[2:]}" if switch else flag,
        help=f"{field.description}{_default(field, switch)}",
        rich_help_panel=extra["panel"],
        metavar=None if switch else extra["metavar"],
        show_default=False,
    )
    kind: Any = bool | None if switch else list[str] | None if name in REPEATED else str | None
    annotation = Annotated[kind, option]
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
    )


def _default(field: FieldInfo, switch: bool) -> str:
    if field.default is None or switch:
        return ""
    return f" [default: {field.default}]"
