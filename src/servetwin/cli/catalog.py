"""`servetwin catalog`: the models, GPUs and links that can be named."""

from __future__ import annotations

import json as json_text
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from servetwin.cli.console import stdout
from servetwin.cli.options import PanelCommand

if TYPE_CHECKING:
    from servetwin.types import Model

app = typer.Typer(add_completion=False, rich_markup_mode=None, invoke_without_command=True)

Word = Annotated[str, typer.Argument(metavar="WORD", help="Only names that contain it.")]
WordOrPath = Annotated[
    str,
    typer.Argument(metavar="WORD|PATH", help="Only names that contain it; or a config.json."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON list, with all that is known.")]

TEXTS = ("attention", "link")
"""Columns of words; all others but the name are numbers."""


@app.callback()
def _root(context: typer.Context) -> None:
    """List models, GPUs and links."""
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command(cls=PanelCommand)
def models(word: WordOrPath = "", json: Json = False) -> None:
    """List models: billions of parameters, and how many of them one token passes through;
    experts, attention, longest context.

    Of a config.json, or a folder that holds one, show what is derived from it.
    """
    from servetwin.catalog import count_parameters, find_model
    from servetwin.catalog import models as known

    if _is_config(word):
        found = [find_model(word)]
    else:
        found = [model for model in known() if _has(model.name, word)]
    counts = [count_parameters(model) for model in found]
    if json:
        sizes = [{"parameters": count.total, "active_parameters": count.active} for count in counts]
        _print_json(found, sizes)
        return
    rows = [
        (
            model.name,
            _billions(count.total),
            _billions(count.active),
            "-" if model.mixture is None else model.mixture.experts,
            _attention(model),
            f"{model.max_model_len:,}",
        )
        for model, count in zip(found, counts, strict=True)
    ]
    heads = ("Model", "10⁹", "active", "MoE", "attention", "context")
    _print_table(heads, rows, word)


@app.command(cls=PanelCommand)
def gpus(word: Word = "", json: Json = False) -> None:
    """List accelerators: dense TFLOP/s by dtype, memory and its bandwidth, dollars an hour.

    16 bit is bf16, or fp16 where there is no bf16.
    """
    from servetwin.catalog import accelerators
    from servetwin.cost.dtypes import half_dtype

    found = [gpu for gpu in accelerators() if _has(gpu.name, word)]
    if json:
        _print_json(found)
        return
    rows = [
        (
            gpu.name,
            *(_tera(gpu.flops.get(dtype)) for dtype in (half_dtype(gpu), "fp8", "fp4")),
            f"{gpu.bandwidth / 1e9:,.0f}",
            f"{gpu.memory / 2**30:,.0f}",
            "-" if gpu.max_watts is None else f"{gpu.max_watts:,.0f}",
            "-" if gpu.price_per_hour is None else f"{gpu.price_per_hour:.2f}",
            gpu.link,
        )
        for gpu in found
    ]
    heads = ("GPU", "16 bit", "fp8", "fp4", "GB/s", "GiB", "watts", "$/h", "link")
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


def _is_config(word: str) -> bool:
    """Whether the word is a path to a config.json, or to a folder with one."""
    path = Path(word)
    return path.suffix == ".json" or (bool(word) and (path / "config.json").is_file())


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

    table = Table(
        box=None, padding=(0, 1), pad_edge=False, collapse_padding=True, header_style="bold"
    )
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


def _print_json(found: Sequence[Any], more: Sequence[dict[str, Any]] = ()) -> None:
    """Print all fields of each item, and the entries of `more` that belong to it."""
    from servetwin.results.summary import plain

    items = [plain(item) for item in found]
    for item, extra in zip(items, more, strict=False):
        item.update(extra)
    print(json_text.dumps(items, indent=2))
