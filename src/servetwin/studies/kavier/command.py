"""The flags of `servetwin study kavier`, as the reproducibility document spells them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from servetwin.errors import InputError
from servetwin.studies.kavier.pasted import mend, words_of

if TYPE_CHECKING:
    from servetwin.cost.energy import Rates

__all__ = ["PastedCommand", "app"]

NAMES_WIDTH = 32

Flags = dict[str, tuple[str, str]]
"""Placeholder and explanation by name."""

SIMULATION: Flags = {
    "llm": ("NAME", "Model, such as Llama-3-8B."),
    "gpu": ("NAME", "GPU, such as A10; A100 is A100-80GB."),
    "trace": ("FILE", "Requests; marconi-equivalent stands for Kavier's own trace."),
    "kv_cache": ("on|off", "Keep the KV cache of a request. [default: on]"),
    "export_rate": ("S", "Seconds of a fragment. [default: 0.1]"),
    "flush_size": ("ROWS", "Rows written at a time. [default: 1000]"),
    "model": ("NAME", "Whose formulas: kavier or servetwin. [default: kavier]"),
    "correction": (
        "NAME",
        "Of servetwin, to measured runs: kavier-a10, kavier-a10-counted or none. [default: none]",
    ),
    "output_folder": ("DIR", "For tasks.parquet, fragments.parquet and summary.json."),
}
CACHE: Flags = {
    "prefix_cache_min_tokens": ("N", "Length of a cached prefix. [default: 1024]"),
    "max_cached_prompts": ("N", "Prompts one LRU keeps. [default: 10]"),
    "cache_scope": ("NAME", "session or global. [default: session]"),
    "prefix_cache_policy": ("NAME", "What a hit skips: none, prefill or full. [default: none]"),
    "cache_variant": (
        "NAME",
        "per-session: an LRU for each; shared-lru: one for all, as in the original. "
        "[default: per-session]",
    ),
}
RATES: Flags = {
    "price": ("$/H", "Price of a GPU hour, or a CSV file by the hour."),
    "carbon": ("G/KWH", "Carbon intensity, gCO2e/kWh, or a CSV file by the hour."),
    "pue": ("X", "Power usage effectiveness. [default: 1]"),
}
POST_PROCESSING: Flags = {
    "kavier": ("FILE", "tasks.parquet of a simulation."),
    "opendc": ("FILE", "OpenDC's powerSource.parquet, or 'generated' for power of our own."),
    "out": ("PLACE", "Folder, or a file ending in .json, for the result."),
}
PANELS = {
    "Simulation": SIMULATION,
    "Prompt cache": CACHE,
    "Energy, carbon, cost": RATES,
    "Post-processing": POST_PROCESSING,
}
SWEPT = (*(name for name in SIMULATION if name != "output_folder"), *CACHE)
"""Flags that take lists."""


class PastedCommand(TyperCommand):
    """Takes words as the document prints them, and keeps what was done to them in the context."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        pasted = mend(words_of(args))
        ctx.obj = pasted.notes
        return super().parse_args(ctx, pasted.words)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        panels: dict[str, list[tuple[str, str]]] = {title: [] for title in PANELS}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                title = getattr(parameter, "rich_help_panel", None) or "Options"
                panels.setdefault(title, []).append(record)
        for title, records in panels.items():
            with formatter.section(title):
                formatter.write_dl(records, col_max=NAMES_WIDTH)


def takes_flags(verb: Callable[..., None]) -> Callable[..., None]:
    """Add the flags of PANELS to a verb: text as it was typed, None where nothing was."""
    own = inspect.signature(verb, eval_str=True).parameters.values()
    added = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                str | None,
                typer.Option(
                    f"--{name}",
                    metavar=metavar,
                    help=text,
                    rich_help_panel=panel,
                    show_default=False,
                ),
            ],
        )
        for panel, flags in PANELS.items()
        for name, (metavar, text) in flags.items()
    ]
    kept = [item for item in own if item.kind is not inspect.Parameter.VAR_KEYWORD]
    verb.__signature__ = inspect.Signature([*kept, *added])  # type: ignore[attr-defined]
    verb.__annotations__ = {item.name: item.annotation for item in (*kept, *added)}
    return verb


app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(cls=PastedCommand)
@takes_flags
def kavier(
    context: typer.Context,
    requests: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Only the first N requests.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON, alone.")] = False,
    **flags: str | None,
) -> None:
    """Simulate requests one by one, with Kavier's flags; or rate a simulation's efficiency.

    A list such as [pick 8, 16] runs each value. A lone - reads the command from stdin.

    \b
    servetwin study kavier --llm Llama-3-8B --gpu A10 --export_rate 1 \\
        --trace marconi-equivalent --prefix_cache_policy prefill \\
        --max_cached_prompts "[8, 16]"
    servetwin study kavier --kavier out/tasks.parquet --opendc generated
    """
    rates = _rates(flags)
    if flags["kavier"] is not None or flags["opendc"] is not None:
        _post_process(flags, rates, json)
    else:
        _simulate(flags, rates, (requests, context.obj), json)


def _post_process(flags: dict[str, str | None], rates: Rates, json: bool) -> None:
    from servetwin.studies.kavier import deliver

    tasks, opendc, out = flags["kavier"], flags["opendc"], flags["out"]
    if tasks is None or opendc is None:
        raise InputError("post-processing needs both --kavier FILE and --opendc FILE")
    unused = [name for name in (*SWEPT, "output_folder") if name != "gpu" and flags[name]]
    if unused:
        raise InputError(f"--{unused[0]} belongs to a simulation, --kavier to post-processing")
    place = None if out is None else Path(out)
    job = deliver.PostJob(Path(tasks), opendc, flags["gpu"], rates, place)
    deliver.post_processing(job, json)


def _simulate(
    flags: dict[str, str | None],
    rates: Rates,
    given: tuple[int | None, tuple[str, ...]],
    json: bool,
) -> None:
    from servetwin.studies.kavier import deliver
    from servetwin.studies.kavier.settings import sweep_of

    if flags["out"] is not None:
        raise InputError("--out belongs to post-processing: give --output_folder DIR")
    sweep = sweep_of({name: flags[name] for name in SWEPT})
    folder = flags["output_folder"]
    if folder is not None and not folder.strip():
        raise InputError("--output_folder '': name a folder, or leave it away to write no files")
    requests, notes = given
    place = None if folder is None else Path(folder)
    job = deliver.SimulationJob(sweep, requests, rates, place, (*notes, *sweep.notes))
    deliver.simulations(job, json)


def _rates(flags: dict[str, str | None]) -> Rates:
    from servetwin.cost.energy import Rates, read_rate

    price, carbon, pue = flags["price"], flags["carbon"], flags["pue"]
    try:
        factor = 1.0 if pue is None else float(pue)
    except ValueError:
        raise InputError(f"--pue '{pue}': a number of at least 1 is needed, such as 1.2") from None
    return Rates(
        pue=factor,
        carbon=None if carbon is None else read_rate(carbon, "--carbon"),
        gpu_price=None if price is None else read_rate(price, "--price"),
    )
