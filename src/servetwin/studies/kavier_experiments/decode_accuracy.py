"""`servetwin study kavier-1.2`: predicted against measured decode, Llama-3-8B on an A10."""

from __future__ import annotations

import typer

from servetwin.studies.kavier_experiments.options import Json, Out, Quick, Trace

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def decode_accuracy(
    trace: Trace = None, quick: Quick = False, json: Json = False, out: Out = None
) -> None:
    """Predict the published decode times, and compare both models with what was measured.

    The published lengths are always compared; a trace adds its own times by both models.

    \b
    servetwin study kavier-1.2 --out results
    """
    from servetwin.studies.kavier_experiments.accuracy_study import run
    from servetwin.studies.kavier_experiments.writing import check_out, deliver

    check_out(out)
    deliver(run("decode", trace, quick), out, json)
