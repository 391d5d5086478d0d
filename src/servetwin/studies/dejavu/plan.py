"""`servetwin study dejavu-plan`: the published `simulate_all`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from servetwin.studies.dejavu.options import Json, PlanRequests, Rps, Semantics, TraceFile

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def plan(
    model: Annotated[str, typer.Option(metavar="NAME", help="OPT-13B … OPT-175B, BLOOM-176B.")],
    trace_file: TraceFile = None,
    config_file: Annotated[
        Path | None,
        typer.Option("--config_file", metavar="FILE", help="Times by batch size; else ours."),
    ] = None,
    rps: Rps = 0.0,
    requests: PlanRequests = 256,
    mem_per_machine: Annotated[
        float, typer.Option("--mem_per_machine", metavar="GB", help="Of all GPUs of a machine.")
    ] = 80.0,
    machine_cost: Annotated[
        float, typer.Option("--machine_cost", metavar="$/H", help="Of a machine.")
    ] = 0.0,
    gpu: Annotated[
        str | None, typer.Option(metavar="NAME", help="For times of ours; else by the memory.")
    ] = None,
    gpus_per_machine: Annotated[
        int | None, typer.Option("--gpus_per_machine", metavar="N", min=1, help="With --gpu.")
    ] = None,
    output_csv: Annotated[
        Path | None, typer.Option("--output_csv", metavar="FILE", help="The table; JSON beside it.")
    ] = None,
    semantics: Semantics = "causal",
    json: Json = False,
) -> None:
    """Find the fastest pipeline, data parallelism and disaggregation for 1 to 16 machines.

    \b
    servetwin study dejavu-plan --model OPT-30B --mem_per_machine 64 --machine_cost 8 \\
        --trace_file lmsys_tokens.json --config_file model_info.json --output_csv opt30.csv
    """
    from servetwin.results.summary import to_json
    from servetwin.studies.dejavu import appendix_b
    from servetwin.studies.dejavu.planning import Machine
    from servetwin.studies.dejavu.tables import show_notes
    from servetwin.studies.dejavu.verdict import seed_speedups

    machine = Machine(mem_per_machine, machine_cost)
    question = appendix_b.Question(
        model,
        machine,
        trace_file,
        config_file,
        rps,
        semantics,
        gpu,
        gpus_per_machine,
        requests,
    )
    planned = appendix_b.make_plan(question)
    written = appendix_b.write_plan(planned, output_csv) if output_csv else []
    if json:
        print(to_json(planned.described()))
        return
    appendix_b.show_plan(planned)
    print("\n" + "\n".join(seed_speedups(planned.results)))
    show_notes((planned.verdict(), *planned.notes))
    if written:
        print(f"\nWritten: {', '.join(map(str, written))}")
