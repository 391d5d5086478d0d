"""Figures 17 to 19 end to end: plan, both charts, the speed-ups and what they mean."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from servetwin.errors import InputError
from servetwin.studies.dejavu.options import Json, PlanRequests, Rps, Semantics

if TYPE_CHECKING:
    from servetwin.studies.dejavu.appendix_b import Planned

__all__ = ["FIGURES", "Figure", "app_of"]


class Figure(NamedTuple):
    """What one figure is about, as the page's commands say."""

    number: int
    model: str
    machine: str
    gpu: str
    gpus: int
    mem_per_machine: float
    machine_cost: float


FIGURES = {
    17: Figure(17, "OPT-66B", "4a100", "A100-80GB", 4, 320.0, 18.52),
    18: Figure(18, "OPT-30B", "4v100", "V100-SXM2-16GB", 4, 64.0, 8.0),
    19: Figure(19, "BLOOM-176B", "4a100", "A100-80GB", 4, 320.0, 18.52),
}

Trace = Annotated[
    Path, typer.Option("--trace_file", metavar="FILE", help="Requests; else lengths of ours.")
]
Config = Annotated[
    Path | None,
    typer.Option("--config_file", metavar="FILE", help="Times by batch size; else ours."),
]
Out = Annotated[Path | None, typer.Option(metavar="DIR", help="Folder for figures and tables.")]


def app_of(number: int) -> typer.Typer:
    """The program of one figure."""
    figure = FIGURES[number]
    app = typer.Typer(add_completion=False, rich_markup_mode=None)

    def command(
        trace_file: Trace = Path("lmsys_tokens.json"),
        config_file: Config = None,
        rps: Rps = 0.0,
        requests: PlanRequests = 256,
        semantics: Semantics = "causal",
        out: Out = None,
        json: Json = False,
    ) -> None:
        _run(figure, (trace_file, config_file, rps, semantics, requests), out, json)

    command.__doc__ = (
        f"Plan {figure.model} on machines of {figure.gpus} {figure.gpu}, and draw "
        "makespan and cost.\n\n\b\n"
        f"servetwin study dejavu-fig{number} --out results"
    )
    app.command()(command)
    return app


def _run(
    figure: Figure,
    asked: tuple[Path, Path | None, float, str, int],
    out: Path | None,
    json: bool,
) -> None:
    from servetwin.results.output import written_to
    from servetwin.results.summary import to_json
    from servetwin.studies.dejavu import appendix_b
    from servetwin.studies.dejavu.planning import Machine
    from servetwin.studies.dejavu.tables import show_notes
    from servetwin.studies.dejavu.verdict import seed_speedups

    if out is not None and out.exists() and not out.is_dir():
        raise InputError(f"--out {out}: is a file; name a folder")
    trace, config, rps, semantics, requests = asked
    machine = Machine(figure.mem_per_machine, figure.machine_cost)
    ours = config is None or not config.exists()
    gpu, gpus = (figure.gpu, figure.gpus) if ours else (None, None)
    question = appendix_b.Question(
        figure.model, machine, trace, config, rps, semantics, gpu, gpus, requests
    )
    planned = appendix_b.make_plan(question)
    written = _write(figure, planned, out) if out is not None else []
    if json:
        print(to_json(planned.described()))
        return
    appendix_b.show_plan(planned)
    print("\n" + "\n".join(seed_speedups(planned.results)))
    show_notes((planned.verdict(), *planned.notes))
    if out is not None and written:
        print(f"\n{written_to(out, written)}")


def _write(figure: Figure, planned: Planned, out: Path) -> list[str]:
    from servetwin.results.output import Writer, write_together
    from servetwin.results.summary import to_json
    from servetwin.studies.dejavu import appendix_b
    from servetwin.studies.dejavu.plan_files import csv_rows, write_csv

    stem, results = f"{figure.model}_{figure.machine}", planned.results
    name = f"Figure {figure.number}: {figure.model}, machines of {figure.gpus} {figure.gpu}"
    cost = figure.machine_cost
    charts = {
        "": appendix_b.bars(results, name, planned.standing()),
        "_cost": appendix_b.bars(results, name, planned.standing(), cost),
    }
    text = to_json(planned.described()) + "\n"
    save: Callable[[Path], object] = partial(write_csv, csv_rows(planned.rows, cost))
    writers: dict[str, Writer] = {
        **appendix_b.figure_writers(stem, charts),
        f"{stem}.csv": save,
        f"{stem}.json": lambda path: path.write_text(text, encoding="utf-8"),
    }
    write_together(out, writers, ())
    return list(writers)
