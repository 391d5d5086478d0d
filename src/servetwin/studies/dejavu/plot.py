"""`servetwin study dejavu-plot`: the published `plot_simulations`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from servetwin.errors import InputError

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def plot(
    model: Annotated[str, typer.Option(metavar="NAME", help="Name in title and file.")],
    suffix: Annotated[str, typer.Option(metavar="TEXT", help="Machines, in title and file.")],
    input: Annotated[Path, typer.Option(metavar="FILE", help="CSV of study dejavu-plan.")],
    plot_cost: Annotated[
        bool, typer.Option("--plot_cost", help="Cost in machine-hours instead of makespan.")
    ] = False,
    machine_cost: Annotated[
        float, typer.Option("--machine_cost", metavar="$/H", help="By which the CSV's costs count.")
    ] = 0.0,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for the figures.", show_default=False)
    ] = Path(),
) -> None:
    """Draw a plan as bars, PNG and HTML, and print the largest speed-ups.

    \b
    servetwin study dejavu-plot --model OPT-30B --suffix 4v100 --input opt30.csv
    servetwin study dejavu-plot --model OPT-30B --suffix 4v100 --input opt30.csv \\
        --plot_cost --machine_cost 8
    """
    from servetwin.results.output import replace_file, writing_to
    from servetwin.studies.dejavu import appendix_b
    from servetwin.studies.dejavu.plan_files import check_price, conditions_beside, read_csv
    from servetwin.studies.dejavu.tables import show_notes
    from servetwin.studies.dejavu.verdict import seed_speedups, verdict

    stem = f"{model}_{suffix}"
    if "/" in stem or not suffix.strip():
        raise InputError(f"--model {model} --suffix {suffix}: must make a file name")
    results = read_csv(input)
    if plot_cost and not (0 < machine_cost < float("inf")):
        raise InputError(f"--machine_cost {machine_cost:g}: must be above 0 with --plot_cost")
    if plot_cost and not any(cost for costs in results.costs.values() for cost in costs):
        raise InputError(f"{input}: all costs are 0; plan with --machine_cost")
    if plot_cost:
        check_price(results, input, machine_cost)
    lines = conditions_beside(input) or (f"requests and times of {input.name}",)
    cost = machine_cost if plot_cost else None
    chart = appendix_b.bars(results, f"{model}, {suffix}", lines, cost)
    writers = appendix_b.figure_writers(stem, {"_cost" if plot_cost else "": chart})
    with writing_to(out):
        out.mkdir(parents=True, exist_ok=True)
    for name, write in writers.items():
        replace_file(out / name, write)
    print("\n".join(seed_speedups(results)))
    show_notes([verdict(results)])
    print(f"\nWritten: {', '.join(str(out / name) for name in writers)}")
