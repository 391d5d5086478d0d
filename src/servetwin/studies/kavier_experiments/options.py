"""Options that all experiments share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["Carbon", "Json", "Out", "Price", "Pue", "Quick", "Trace"]

Trace = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Requests of your own, in any format workload show reads."),
]
Out = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Write tables and figures into this folder.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, alone.")]
Quick = Annotated[bool, typer.Option("--quick", help="A slice, for a look in seconds.")]
Price = Annotated[
    str | None,
    typer.Option(metavar="$/H", help="Price of a GPU hour, or a CSV by the hour; else catalog."),
]
Carbon = Annotated[
    str | None,
    typer.Option(metavar="G/KWH", help="Grid carbon, gCO2e/kWh, or a CSV file by the hour."),
]
Pue = Annotated[float, typer.Option(metavar="X", help="Power usage effectiveness of the site.")]
