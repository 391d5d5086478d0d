"""`servetwin study dejavu-baseline`: prompts and tokens in one ring of stages."""

from __future__ import annotations

import typer

from servetwin.studies.dejavu.options import (
    Arrivals,
    DoTraces,
    Json,
    Out,
    PromptTime,
    PromptTokens,
    Requests,
    Rps,
    Semantics,
    TokenTime,
    TraceFile,
)

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def baseline(
    trace_file: TraceFile = None,
    rps: Rps = 0.0,
    num_machines: int = typer.Option(1, "--num_machines", metavar="N", help="Stages of the ring."),
    prompt_time: PromptTime = 1.0,
    token_time: TokenTime = 1.0,
    do_traces: DoTraces = False,
    arrivals: Arrivals = None,
    requests: Requests = 512,
    prompt_tokens: PromptTokens = 0,
    semantics: Semantics = "causal",
    out: Out = None,
    json: Json = False,
) -> None:
    """Simulate DéjàVu's baseline: a pipeline whose stages serve prompts and tokens.

    \b
    servetwin study dejavu-baseline --rps 2 --num_machines 4 --prompt_time 100 \\
        --token_time 20 --trace_file lmsys_tokens.json --out run
    """
    from servetwin.sim.pipeline import Ring
    from servetwin.studies.dejavu.delivering import Delivery, deliver
    from servetwin.studies.dejavu.simulating import Asked, simulate

    ring = Ring(num_machines, prompt_time * 1000, token_time * 1000)
    asked = Asked("dejavu-baseline", ring, semantics, requests, rps, arrivals, prompt_tokens)
    deliver(simulate(asked, trace_file), Delivery(out, do_traces, json))
