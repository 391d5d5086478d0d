"""Options that DéjàVu's studies share, spelled as on its simulation page where they are there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "Arrivals",
    "DoTraces",
    "Json",
    "Out",
    "PlanRequests",
    "PromptTime",
    "PromptTokens",
    "Requests",
    "Rps",
    "Semantics",
    "TokenTime",
    "TraceFile",
]

TraceFile = Annotated[
    Path | None,
    typer.Option(
        "--trace_file",
        metavar="FILE",
        help="List of [prompt, generated] tokens, or any trace.",
    ),
]
Rps = Annotated[
    float, typer.Option("--rps", metavar="R", help="Poisson requests a second; 0: all at once.")
]
PromptTime = Annotated[
    float,
    typer.Option("--prompt_time", metavar="MS", help="Of a microbatch's prompt, on one stage."),
]
TokenTime = Annotated[
    float,
    typer.Option("--token_time", metavar="MS", help="Of a microbatch's token, on one stage."),
]
Arrivals = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Arrivals in µs, one a request, instead of --rps."),
]
Semantics = Annotated[
    str, typer.Option(metavar="NAME", help="causal, or original: bit for bit as published.")
]
Requests = Annotated[
    int, typer.Option(metavar="N", min=0, help="Only the first N requests; 0: all.")
]
PlanRequests = Annotated[
    int, typer.Option(metavar="N", min=0, help="Entries of the trace to plan for; 0: all.")
]
PromptTokens = Annotated[
    int,
    typer.Option(
        "--prompt_tokens",
        metavar="N",
        min=0,
        help="Tokens of a prompt that takes --prompt_time, others in proportion; 0: all the same.",
    ),
]
DoTraces = Annotated[bool, typer.Option("--do_traces", help="Write a trace for ui.perfetto.dev.")]
Out = Annotated[Path | None, typer.Option(metavar="DIR", help="Write the run into this folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print the summary as JSON, alone.")]
