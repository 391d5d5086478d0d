"""`servetwin study kavier-1.3`: what a simulation costs, by how finely it is exported."""

from __future__ import annotations

from typing import Annotated

import typer

from servetwin.studies.kavier_experiments.options import Json, Out, Quick, Trace

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def export_rate(
    trace: Trace = None,
    export_rate: Annotated[
        str,
        typer.Option(
            "--export_rate", "--export-rate", metavar="S,…", help="Seconds of a fragment."
        ),
    ] = "1,0.1,0.01,0.001",
    model: Annotated[
        str, typer.Option(metavar="NAME", help="Whose times are cut: kavier or servetwin.")
    ] = "kavier",
    quick: Quick = False,
    json: Json = False,
    out: Out = None,
) -> None:
    """Measure the wall seconds of a simulation that writes OpenDC's files, by export rate.

    All requests at 0.001 s make 1.8 billion fragments: a minute or more, and 30 MB for a moment.

    \b
    servetwin study kavier-1.3 --out results
    """
    from servetwin.studies.kavier_experiments.export_study import parse_model, parse_rates, run
    from servetwin.studies.kavier_experiments.writing import check_out, deliver

    check_out(out)
    rates = parse_rates(export_rate)
    deliver(run(trace, quick, rates, parse_model(model)), out, json)
