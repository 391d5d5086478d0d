"""Experiment 1.3: requests are simulated, cut into fragments and written, and a clock runs."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from servetwin.errors import InputError, counted, nearest
from servetwin.sim.closed_form import (
    ClosedForm,
    ExportOptions,
    TaskTimes,
    run_closed_form,
    write_opendc,
)
from servetwin.studies.kavier.forms import kavier
from servetwin.studies.kavier_experiments.models import ours
from servetwin.studies.kavier_experiments.outcome import Check, Column, Outcome, Row, Table
from servetwin.studies.kavier_experiments.published import published
from servetwin.studies.kavier_experiments.traces import load_trace
from servetwin.studies.progress import counting
from servetwin.workload import take

if TYPE_CHECKING:
    from servetwin.report.figures import Chart
    from servetwin.types import Workload

__all__ = ["measure_rate", "parse_model", "parse_rates", "run"]

MODELS = ("kavier", "servetwin")
FLUSH_SIZE = 1000
"""As in Kavier's documents; larger where the file would have too many row groups."""

COLUMNS = (
    Column("export_rate_s", "export s", "g"),
    Column("fragments", "fragments", ",d"),
    Column("memory_s", "in memory s", ",.2f"),
    Column("wall_s", "to files s", ",.2f"),
    Column("megabytes", "MB", ",.2f"),
    Column("published_s", "published s", ",.2f"),
    Column("published_over_ours", "publ./ours", ",.0f"),
)


def parse_rates(text: str) -> list[float]:
    """Read "1,0.1" as seconds; raises InputError. The export itself checks their size."""
    try:
        rates = [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"--export_rate '{text[:40]}': seconds such as 1,0.1,0.01") from None
    return sorted(set(rates), reverse=True)


def parse_model(name: str) -> str:
    """Check the name of a closed form; raises InputError."""
    if name not in MODELS:
        hint = nearest(name, MODELS) or f"known: {', '.join(MODELS)}"
        raise InputError(f"--model '{name}' is not known: {hint}")
    return name


def run(trace: Path | None, quick: bool, rates: Sequence[float], model: str) -> Outcome:
    """Measure every rate, and set the published curve beside it."""
    given, table = load_trace(trace, quick), published("export_rate")
    form: ClosedForm = kavier(table["model"], table["gpu"])
    if model == "servetwin":
        form = ours(table["model"], table["gpu"], "kavier-a10")
    for rate in rates:
        # A rate that is not possible is told before anything is measured; this also compiles.
        measure_rate(take(given.workload, 10), form, rate)
    rows = [_row(given.workload, form, rate, given.comparable) for rate in rates]
    conditions = given.conditions(f"{table['model']} on one {table['gpu']} by {model}")
    notes = [
        "wall seconds of this machine, one run each: simulate, cut, write both files; "
        "the published ones are means of ten runs on the authors' machine, of their own simulator",
        *given.notes,
    ]
    return Outcome(
        study="kavier-1.3",
        title="Kavier, experiment 1.3: cost of the export rate, "
        f"{counted(len(given.workload), 'request')}",
        about={**given.about(), "model": model, "quick": quick},
        tables={"rates": Table(f"Times of the model {model}", rows, COLUMNS)},
        checks=[
            Check(
                f"wall seconds at {row['export_rate_s']:g} s",
                "s",
                row["wall_s"],
                row["published_s"],
                below=True,
            )
            for row in rows
            if row["published_s"] is not None
        ],
        charts={"cost": lambda: _chart(rows, conditions)},
        notes=notes,
    )


def _chart(rows: list[Row], conditions: str) -> Chart:
    from servetwin.report import kavier_figures

    return kavier_figures.export_cost(rows, conditions)


def _row(workload: Workload, form: ClosedForm, rate: float, comparable: bool) -> Row:
    row = measure_rate(workload, form, rate)
    table = published("export_rate")
    known = dict(zip(table["seconds"], table["wall_s"], strict=True)) if comparable else {}
    target = known.get(rate)
    row["published_s"] = target
    row["published_over_ours"] = target / row["wall_s"] if target else None
    return row


def measure_rate(workload: Workload, form: ClosedForm, rate: float) -> Row:
    """Wall seconds of one export rate, to memory and to files that are then removed."""
    start = time.perf_counter()
    plan = run_closed_form(workload, form).fragments(rate)
    count = sum(map(len, plan.batches(1 << 16)))
    memory_s = time.perf_counter() - start
    label = f"export rate {rate:g} s"
    with (
        tempfile.TemporaryDirectory() as folder,
        counting(label, "fragments", plan.total) as progress,
    ):
        start = time.perf_counter()
        result = run_closed_form(workload, form)
        tokens = workload.input_tokens.astype(np.int64) + workload.output_tokens
        files = write_opendc(
            Path(folder),
            result.fragments(rate),
            TaskTimes(result.arrivals(), tokens),
            # The folder is removed, so there is nothing to say of what an interruption leaves.
            ExportOptions(FLUSH_SIZE, progress=progress, say=lambda _: None),
        )
        wall_s = time.perf_counter() - start
        size = files.fragments.stat().st_size
    return {
        "export_rate_s": rate,
        "fragments": count,
        "memory_s": memory_s,
        "wall_s": wall_s,
        "fragments_per_s": count / wall_s,
        "megabytes": size / 1e6,
        "bytes_per_fragment": size / count,
    }
