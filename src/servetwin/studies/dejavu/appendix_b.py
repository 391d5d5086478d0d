"""Plans and their figures: `dejavu-plan`, `dejavu-plot` and figures 17 to 19 in one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from servetwin.errors import InputError, counted
from servetwin.studies.dejavu.model_info import ModelTimes, derived_times, read_times
from servetwin.studies.dejavu.plan_files import (
    Results,
    csv_rows,
    described,
    results_of,
    write_csv,
)
from servetwin.studies.dejavu.planning import KINDS, REQUESTS, Machine, PlanRow, plan
from servetwin.studies.dejavu.requests import find_trace
from servetwin.studies.dejavu.tables import Column, show_table
from servetwin.studies.dejavu.verdict import verdict

if TYPE_CHECKING:
    from servetwin.report.figures import Chart
    from servetwin.results.output import Writer

__all__ = ["Planned", "Question", "bars", "figure_writers", "make_plan", "show_plan", "write_plan"]

SEED_CONFIG = "model_info.json"
V100_MACHINE_GB = 64.0


@dataclass(frozen=True)
class Question:
    """What a plan is asked for; the flags of the page, and whose times and semantics."""

    model: str
    machine: Machine
    trace: Path | None
    config: Path | None = None
    rps: float = 0.0
    semantics: str = "causal"
    gpu: str | None = None
    gpus: int | None = None
    requests: int = REQUESTS
    """Of the trace, 0 for all."""


@dataclass(frozen=True)
class Planned:
    """A plan, with what it was made from."""

    question: Question
    times: ModelTimes
    rounds: NDArray[np.int64]
    rows: Sequence[PlanRow]
    notes: tuple[str, ...]
    stand_in: str = ""
    """What takes the place of the trace, empty where it was read."""

    @property
    def results(self) -> Results:
        return results_of(self.rows, self.question.machine.cost_per_hour)

    def verdict(self) -> str:
        return verdict(self.results, self.times, float(self.rounds.mean()))

    def standing(self) -> tuple[str, ...]:
        """Lines below a figure's title: which requests and times it holds for."""
        times = "" if self.times.measured else "times of servetwin's cost model"
        told = "; ".join(part for part in (self.stand_in, times) if part)
        return f"{counted(self.rounds.size, 'request')}, the best layout of each kind", told

    def described(self) -> dict[str, Any]:
        asked, machine = self.question, self.question.machine
        about = {
            "model": self.times.model,
            "semantics": asked.semantics,
            "rps": asked.rps,
            "mem_per_machine": machine.memory_gb,
            "machine_cost": machine.cost_per_hour,
            "requests": int(self.rounds.size),
            "mean_generated_tokens": float(self.rounds.mean()),
            "times": {
                "source": self.times.source,
                "prompt_ms": dict(self.times.prompt_ms),
                "token_ms": dict(self.times.token_ms),
            },
            "verdict": self.verdict(),
            "conditions": list(self.standing()),
            "notes": list(self.notes),
        }
        return described(self.rows, machine.cost_per_hour, about)


def make_plan(question: Question) -> Planned:
    """Read the trace and the times, and plan. Raises InputError."""
    found = find_trace(question.trace, question.requests)
    times, notes = _times(question)
    rows = plan(times, found.rounds, question.machine, question.rps, question.semantics)
    told = (*found.notes, *notes, *_gaps(rows))
    return Planned(question, times, found.rounds, rows, told, found.stand_in)


def _times(question: Question) -> tuple[ModelTimes, tuple[str, ...]]:
    config = question.config
    if config is not None and config.exists():
        if question.gpu or question.gpus:
            raise InputError(
                f"--gpu is for our cost model: leave it or --config_file {config} away"
            )
        return read_times(config, question.model), ()
    if config is not None and config.name != SEED_CONFIG:
        raise InputError(
            f"--config_file '{config}': no such file; leave it away for the times of our cost model"
        )
    gpu = question.gpu or _usual_gpu(question.machine.memory_gb)
    times = derived_times(question.model, gpu, question.gpus or _usual_count(question, gpu))
    lead = "" if config is None else f"'{config}' does not exist; instead: "
    return times, (f"{lead}times of {times.source}",)


def _usual_gpu(memory_gb: float) -> str:
    return "V100-SXM2-16GB" if memory_gb == V100_MACHINE_GB else "A100-80GB"


def _usual_count(question: Question, gpu: str) -> int:
    """Devices that add up to a machine's memory, by the decimal GB that names them."""
    from servetwin.catalog import find_accelerator

    size = find_accelerator(gpu).memory / 1e9
    return max(1, round(question.machine.memory_gb / size)) if question.machine.memory_gb else 1


def _gaps(rows: Sequence[PlanRow]) -> tuple[str, ...]:
    gaps = [
        f"{kind} with {', '.join(str(row.machines) for row in missing)}"
        for number, kind in enumerate(KINDS)
        if (missing := [row for row in rows if row.cells[number] is None])
    ]
    if all(cell is None for row in rows for cell in row.cells):
        return ("nothing fits with any number of machines (0 in the CSV)",)
    return (f"nothing fits: {'; '.join(gaps)} (0 in the CSV, a gap in figures)",) if gaps else ()


def write_plan(planned: Planned, table: Path) -> list[Path]:
    """Write the CSV, and the JSON beside it."""
    from servetwin.results.output import replace_file
    from servetwin.results.summary import to_json

    beside = table.with_suffix(".json")
    if beside == table:
        raise InputError(f"--output_csv {table}: must not end in .json, which lies beside it")
    content = to_json(planned.described()) + "\n"
    rows = csv_rows(planned.rows, planned.question.machine.cost_per_hour)
    replace_file(table, partial(write_csv, rows))
    replace_file(beside, lambda path: path.write_text(content, encoding="utf-8"))
    return [table, beside]


def show_plan(planned: Planned) -> None:
    """Print the makespans with their layouts, and the costs."""
    results = planned.results
    rows = []
    for at, machines in enumerate(results.machines):
        row: dict[str, Any] = {"machines": machines}
        for kind in KINDS:
            row[kind] = results.makespans[kind][at]
            row[f"{kind} layout"] = results.layouts[kind][at] or None
        rows.append(row)
    columns = [Column("machines", "")]
    for kind in KINDS:
        columns += [Column(kind, ",.1f"), Column(f"{kind} layout", "", "layout")]
    show_table(f"{planned.times.model}: makespan in s; stages, b: batch size", rows, columns)
    if planned.question.machine.cost_per_hour:
        costs = [
            {"machines": machines, **{kind: results.costs[kind][at] for kind in KINDS}}
            for at, machines in enumerate(results.machines)
        ]
        money = [Column("machines", ""), *(Column(kind, ",.2f") for kind in KINDS)]
        show_table("Cost, $", costs, money)


def bars(
    results: Results, name: str, lines: Sequence[str], machine_cost: float | None = None
) -> Chart:
    """Makespans, or, with the cost of a machine and hour, costs divided by it (machine-hours)."""
    from servetwin.report.dejavu_figures import planner_bars

    values = results.makespans
    y_title = "makespan (s)"
    if machine_cost is not None:
        values = {
            kind: tuple(None if cost is None else cost / machine_cost for cost in costs)
            for kind, costs in results.costs.items()
        }
        y_title = "normalised cost (machine-hours)"
    rows = [
        {
            "machines": machines,
            "kind": kind,
            "value": values[kind][at],
            "layout": results.layouts[kind][at],
        }
        for at, machines in enumerate(results.machines)
        for kind in KINDS
    ]
    return planner_bars(rows, KINDS, y_title, (name, *lines))


def figure_writers(stem: str, charts: Mapping[str, Chart]) -> dict[str, Writer]:
    """PNG and HTML of each chart: `{stem}.png`, `{stem}_cost.html`, … by the charts' suffixes."""
    from servetwin.report.figures import save

    return {
        f"{stem}{suffix}.{kind}": partial(save, chart)
        for suffix, chart in charts.items()
        for kind in ("png", "html")
    }
