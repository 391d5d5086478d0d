"""`servetwin study dejavu-disaggregated`: prompts in one pipeline, tokens in another."""

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
def disaggregated(
    trace_file: TraceFile = None,
    rps: Rps = 0.0,
    num_prompt_machines: int = typer.Option(
        1, "--num_prompt_machines", metavar="A", help="Stages for prompts."
    ),
    num_token_machines: int = typer.Option(
        1, "--num_token_machines", metavar="B", help="Stages for tokens."
    ),
    prompt_time: PromptTime = 1.0,
    token_time: TokenTime = 1.0,
    cache_time: float = typer.Option(
        1.0, "--cache_time", metavar="MS", help="To move a prompt's KV cache on from one stage."
    ),
    link_gbs: float = typer.Option(
        0.0,
        "--link_gbs",
        metavar="GB/S",
        help="A link that all KV caches share, instead of --cache_time.",
    ),
    kv_bytes_per_token: float = typer.Option(
        0.0, "--kv_bytes_per_token", metavar="BYTES", help="Of a whole microbatch, with --link_gbs."
    ),
    prompt_slots: int = typer.Option(
        0,
        "--prompt_slots",
        metavar="N",
        help="KV caches that may wait for the token stages; 0: any number.",
    ),
    do_traces: DoTraces = False,
    arrivals: Arrivals = None,
    requests: Requests = 512,
    prompt_tokens: PromptTokens = 0,
    semantics: Semantics = "causal",
    out: Out = None,
    json: Json = False,
) -> None:
    """Simulate DéjàVu's disaggregation: stages for prompts, and others for tokens.

    \b
    servetwin study dejavu-disaggregated --rps 2 --num_prompt_machines 2 \\
        --num_token_machines 2 --prompt_time 50 --token_time 20 --cache_time 5 \\
        --trace_file lmsys_tokens.json --do_traces --out run
    """
    from servetwin.sim.pipeline import Split
    from servetwin.studies.dejavu.delivering import Delivery, deliver
    from servetwin.studies.dejavu.simulating import Asked, SharedLink, simulate

    link = SharedLink.of(link_gbs, kv_bytes_per_token)
    split = Split(
        num_prompt_machines,
        num_token_machines,
        prompt_time * 1000,
        token_time * 1000,
        0.0 if link else cache_time * 1000,
        shared_link=link is not None,
        waiting=prompt_slots,
    )
    asked = Asked(
        "dejavu-disaggregated", split, semantics, requests, rps, arrivals, prompt_tokens, link
    )
    deliver(simulate(asked, trace_file), Delivery(out, do_traces, json))
