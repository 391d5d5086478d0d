"""`servetwin study dejavu-failures`: what a failure costs, with KV replicas and without."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from servetwin.studies.dejavu.options import (
    Arrivals,
    Json,
    PromptTime,
    Requests,
    Rps,
    TokenTime,
    TraceFile,
)

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def failures(
    trace_file: TraceFile = Path("lmsys_tokens.json"),
    rps: Rps = 0.0,
    num_machines: int = typer.Option(4, "--num_machines", metavar="N", help="Stages of the ring."),
    prompt_time: PromptTime = 100.0,
    token_time: TokenTime = 20.0,
    fail_at: str = typer.Option(
        "50%", "--fail_at", metavar="TIMES", help="50% of the run, seconds 10,20, or mtbf=5h."
    ),
    detect_s: float = typer.Option(3.0, "--detect_s", metavar="S", help="To notice a failure."),
    restart_s: float = typer.Option(20.0, "--restart_s", metavar="S", help="To start a machine."),
    weights_gb: float = typer.Option(
        32.0, "--weights_gb", metavar="GB", help="Of one machine, loaded anew."
    ),
    kv_gb: float = typer.Option(
        8.0, "--kv_gb", metavar="GB", help="Of one machine, restored from the replica."
    ),
    load_gbs: float = typer.Option(
        2.0, "--load_gbs", metavar="GB/S", help="At which weights and KV caches are loaded."
    ),
    lag: int = typer.Option(1, "--lag", metavar="N", help="Rounds that the replica is behind."),
    arrivals: Arrivals = None,
    requests: Requests = 512,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write table and figure into this folder.")
    ] = None,
    json: Json = False,
) -> None:
    """Let machines of DéjàVu's baseline fail, with replicated KV caches and without.

    \b
    servetwin study dejavu-failures --num_machines 4 --fail_at 50% --out results
    """
    from servetwin.results.output import written_to
    from servetwin.results.summary import to_json
    from servetwin.sim.pipeline import Ring
    from servetwin.studies.dejavu import failing
    from servetwin.studies.dejavu.failure_files import described, show, write
    from servetwin.studies.dejavu.simulating import Asked

    recovery = failing.Recovery(detect_s, restart_s, weights_gb, kv_gb, load_gbs, lag)
    ring = Ring(num_machines, prompt_time * 1000, token_time * 1000)
    asked = Asked("dejavu-failures", ring, "causal", requests, rps, arrivals)
    compared = failing.compare(asked, trace_file, fail_at, recovery)
    content = described(compared, recovery)
    written = write(compared, content, out) if out is not None else []
    if json:
        print(to_json(content))
        return
    show(compared)
    if out is not None and written:
        print(f"\n{written_to(out, written)}")
