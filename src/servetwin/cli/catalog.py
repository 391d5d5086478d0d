"""`servetwin catalog`: the models, GPUs and links that can be named."""

from __future__ import annotations

import json as json_text
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from servetwin.cli.console import stdout
from servetwin.cli.options import PanelCommand

if TYPE_CHECKING:
    from servetwin.types import Model

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="List models, GPUs and links.",
)

Word = Annotated[str, typer.Argument(metavar="[WORD]", help="Only names that contain it.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON list, with all that is known.")]

TEXTS = ("attention", "link")
"""Columns of words; all others but the name are numbers."""


@app.command(cls=PanelCommand)
def models(word: Word = "", json: Json = False) -> None:
    """List models: billions of parameters, experts, attention, longest context."""
    from servetwin.catalog import count_parameters
    from servetwin.catalog import models as known

    found = [model for model in known() if _has(model.name, word)]
    if json:
        _print_json(found)
        return
    rows = [
        (
            model.name,
            _billions(count_parameters(model).total),
            "-" if model.mixture is None else model.mixture.experts,
            _attention(model),
            f"{model.max_model_len:,}",
        )
        for model in found
    ]
    heads = ("Model", "10⁹", "MoE", "attention", "context")
    _print_table(heads, rows, word)


@app.command(cls=PanelCommand)
def gpus(word: Word = "", json: Json = False) -> None:
    """List accelerators by name: dense TFLOP/s by dtype, memory and its bandwidth."""
    from servetwin.catalog import accelerators

    found = [gpu for gpu in accelerators() if _has(gpu.name, word)]
    if json:
        _print_json(found)
        return
    rows = [
        (
            gpu.name,
            *(_tera(gpu.flops.get(dtype)) for dtype in ("bf16", "fp8", "fp4")),
            f"{gpu.bandwidth / 1e9:,.0f}",
            f"{gpu.memory / 2**30:,.0f}",
            "-" if gpu.max_watts is None else f"{gpu.max_watts:,.0f}",
            gpu.link,
        )
        for gpu in found
    ]
    heads = ("GPU", "bf16", "fp8", "fp4", "GB/s", "GiB", "watts", "link")
    _print_table(heads, rows, word)


@app.command(cls=PanelCommand)
def links(word: Word = "", json: Json = False) -> None:
    """List links by name. Bandwidth is in one direction."""
    from servetwin.catalog import links as known

    found = [link for link in known() if _has(link.name, word)]
    if json:
        _print_json(found)
        return
    rows = [
        (link.name, f"{link.bandwidth / 1e9:,.4g}", f"{link.latency * 1e6:,.3g}") for link in found
    ]
    _print_table(("Link", "GB/s", "latency µs"), rows, word)


def _has(name: str, word: str) -> bool:
    def folded(text: str) -> str:
        return "".join(letter for letter in text.casefold() if letter.isalnum() or letter in "./")

    return folded(word) in folded(name)


def _billions(count: int) -> str:
    return f"{count / 1e9:,.0f}" if count >= 1e11 else f"{count / 1e9:.3g}"


def _attention(model: Model) -> str:
    """Name what is special about the attention of some layers."""
    kinds = dict.fromkeys(kind.value.partition("_")[0] for kind in model.attention)
    return "+".join(kind for kind in kinds if kind != "full") or "full"


def _tera(flops: float | None) -> str:
    return "-" if flops is None else f"{flops / 1e12:,.0f}"


def _print_table(heads: Sequence[str], rows: Iterable[Sequence[Any]], word: str) -> None:
    from rich.table import Table

    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="bold")
    for position, head in enumerate(heads):
        if position == 0:
            table.add_column(head, overflow="fold")
        else:
            side: Literal["left", "right"] = "left" if head in TEXTS else "right"
            table.add_column(head, justify=side, no_wrap=True, min_width=len(head))
    for row in rows:
        table.add_row(*map(str, row))
    if not table.row_count:
        print(f"No name contains {word!r}.")
        return
    stdout().print(table)


def _print_json(found: Iterable[Any]) -> None:
    from servetwin.results.summary import plain

    print(json_text.dumps([plain(item) for item in found], indent=2))
