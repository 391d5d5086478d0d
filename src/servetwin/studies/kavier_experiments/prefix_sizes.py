"""`servetwin study kavier-3`: what a cache of prompts saves, by prefix size and cache size."""

from __future__ import annotations

from typing import Annotated

import typer

from servetwin.studies.kavier_experiments.options import Carbon, Json, Out, Price, Pue, Quick, Trace

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def prefix_sizes(
    trace: Trace = None,
    prefix_cache_min_tokens: Annotated[
        str,
        typer.Option(
            "--prefix_cache_min_tokens",
            "--prefix-cache-min-tokens",
            metavar="N,…",
            help="Lengths of a prefix, tokens.",
        ),
    ] = "1024,2048,4096",
    max_cached_prompts: Annotated[
        str,
        typer.Option(
            "--max_cached_prompts",
            "--max-cached-prompts",
            metavar="N,…",
            help="Prompts that the cache keeps.",
        ),
    ] = "2,4,8,16,32,64",
    price: Price = None,
    carbon: Carbon = None,
    pue: Pue = 1.0,
    quick: Quick = False,
    json: Json = False,
    out: Out = None,
) -> None:
    """Hits, prefill hours, energy and efficiency of prompt caches, beside none at all.

    \b
    servetwin study kavier-3 --carbon 400 --out results
    """
    from servetwin.studies.kavier_experiments.prefix_study import Grid, run
    from servetwin.studies.kavier_experiments.writing import check_out, deliver

    check_out(out)
    grid = Grid.parse(prefix_cache_min_tokens, max_cached_prompts)
    deliver(run(trace, quick, grid, (price, carbon, pue)), out, json)
