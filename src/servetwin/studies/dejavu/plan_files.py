"""The planner's CSV, as published, with 0 where nothing fits; and the JSON beside it."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from servetwin.errors import InputError
from servetwin.studies.dejavu.planning import KINDS, PlanRow, cost_of

__all__ = [
    "Results",
    "check_price",
    "conditions_beside",
    "csv_rows",
    "described",
    "read_csv",
    "results_of",
    "write_csv",
]

SCHEMA = "servetwin.dejavu_plan/1"
NAMES = ("Num_machines", "Baseline", "Baseline_dp", "DV")
COSTS = ("Cost_baseline", "Cost_baseline_dp", "Cost_dv")
MOST_ROWS = 1000
PRICE_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Results:
    """By number of machines: makespans in s and costs in $ of each kind, None for a gap."""

    machines: tuple[int, ...]
    makespans: Mapping[str, tuple[float | None, ...]]
    costs: Mapping[str, tuple[float | None, ...]]
    layouts: Mapping[str, tuple[str, ...]]
    """Empty texts where they are not known."""


def results_of(rows: Sequence[PlanRow], per_hour: float) -> Results:
    """Take the makespans and costs out of a plan."""
    makespans, costs, layouts = {}, {}, {}
    for number, kind in enumerate(KINDS):
        cells = [row.cells[number] for row in rows]
        makespans[kind] = tuple(None if cell is None else cell.makespan_s for cell in cells)
        layouts[kind] = tuple("" if cell is None else cell.layout for cell in cells)
        costs[kind] = tuple(
            None if cell is None else cost_of(cell, row.machines, per_hour)
            for cell, row in zip(cells, rows, strict=True)
        )
    return Results(tuple(row.machines for row in rows), makespans, costs, layouts)


def csv_rows(rows: Sequence[PlanRow], per_hour: float) -> list[list[Any]]:
    """The published table: a head with an unnamed index, then a row for each number of machines."""
    table: list[list[Any]] = [["", *NAMES, *COSTS]]
    for index, row in enumerate(rows):
        makespans = [0.0 if cell is None else cell.makespan_s for cell in row.cells]
        costs = [cost_of(cell, row.machines, per_hour) for cell in row.cells]
        table.append([index, row.machines, *makespans, *costs])
    return table


def write_csv(table: Sequence[Sequence[Any]], path: Path) -> None:
    """Write it with the shortest digits that give the same float64 again."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(table)


def described(rows: Sequence[PlanRow], per_hour: float, about: Mapping[str, Any]) -> dict[str, Any]:
    """The content of the JSON file."""
    return {
        "schema": SCHEMA,
        **about,
        "rows": [
            {
                "num_machines": row.machines,
                **{
                    kind: None
                    if cell is None
                    else {
                        "makespan_s": cell.makespan_s,
                        "cost": cost_of(cell, row.machines, per_hour),
                        "batch_size": cell.batch_size,
                        "stages": list(cell.stages),
                        "replicas": cell.replicas,
                    }
                    for kind, cell in zip(KINDS, row.cells, strict=True)
                },
            }
            for row in rows
        ],
    }


def read_csv(path: Path) -> Results:
    """Read a table of the planner, ours or the original's. Raises InputError."""
    from servetwin.workload.parsing.text import whole_text

    if not path.exists():
        raise InputError(f"--input '{path}': no such file; make it with study dejavu-plan")
    lines = list(csv.reader(whole_text(path).splitlines()))
    head = lines[0] if lines else []
    missing = [name for name in (*NAMES, *COSTS) if name not in head]
    if missing:
        raise InputError(f"{path}: lacks the column {missing[0]}; is it of study dejavu-plan?")
    body = [(at, line) for at, line in enumerate(lines[1:], start=2) if line]
    if not 0 < len(body) <= MOST_ROWS:
        raise InputError(f"{path}: needs 1 to {MOST_ROWS:,} rows, has {len(body):,}")
    columns = {
        name: tuple(_number(path, at, line, (head.index(name), name)) for at, line in body)
        for name in (*NAMES, *COSTS)
    }
    makespans = dict(zip(KINDS, (_gaps(columns[name]) for name in NAMES[1:]), strict=True))
    # A cost of 0 may also be that of free machines: what is a gap, the makespan says.
    costs = {
        kind: tuple(
            None if makespan is None else cost
            for makespan, cost in zip(makespans[kind], columns[name], strict=True)
        )
        for kind, name in zip(KINDS, COSTS, strict=True)
    }
    machines = tuple(map(int, columns[NAMES[0]]))
    return Results(machines, makespans, costs, {kind: ("",) * len(body) for kind in KINDS})


def check_price(results: Results, path: Path, per_hour: float) -> None:
    """Raise InputError where the costs of `path` are not those of machines at `per_hour` dollars.

    Makespan x machines are machine-hours, and costs divided by them a price.
    """
    prices = [
        cost * 3600 / (makespan * machines)
        for kind in KINDS
        for cost, makespan, machines in zip(
            results.costs[kind], results.makespans[kind], results.machines, strict=True
        )
        if cost is not None and makespan and machines
    ]
    for price in prices:
        if abs(price - per_hour) > PRICE_TOLERANCE * per_hour:
            raise InputError(
                f"--machine_cost {per_hour:g}: the costs in {path} are those of {price:.6g} $/h "
                f"(cost / (makespan x machines)); give --machine_cost {price:.6g}"
            )


def conditions_beside(table: Path) -> tuple[str, ...]:
    """What the JSON beside a table says of its requests and times; nothing without such a file."""
    try:
        content = json.loads(table.with_suffix(".json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return ()
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        return ()
    lines = content.get("conditions")
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        return ()
    return tuple(lines)


def _gaps(values: Sequence[float]) -> tuple[float | None, ...]:
    return tuple(value or None for value in values)


def _number(path: Path, line: int, cells: Sequence[str], column: tuple[int, str]) -> float:
    at, name = column
    try:
        value = float(cells[at])
    except (ValueError, IndexError):
        value = -1.0
    if not 0 <= value < float("inf"):
        shown = cells[at][:40] if at < len(cells) else ""
        raise InputError(f"{path}:{line}: {name} is {shown!r}, not a number of 0 or more")
    return value
