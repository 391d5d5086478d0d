"""`servetwin study kavier-2`: what a KV cache saves, in time and energy, over four models."""

from __future__ import annotations

import typer

from servetwin.studies.kavier_experiments.options import Carbon, Json, Out, Price, Pue, Quick, Trace

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def kv_cache(
    trace: Trace = None,
    price: Price = None,
    carbon: Carbon = None,
    pue: Pue = 1.0,
    quick: Quick = False,
    json: Json = False,
    out: Out = None,
) -> None:
    """Compare KV cache on and off for four models on an A100, with eight power models.

    \b
    servetwin study kavier-2 --carbon 400 --out results
    """
    from servetwin.studies.kavier_experiments.kv_cache_study import run
    from servetwin.studies.kavier_experiments.writing import check_out, deliver

    check_out(out)
    deliver(run(trace, quick, price, carbon, pue), out, json)
