"""The files and the page of `dejavu-failures`."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from servetwin.errors import InputError
from servetwin.studies.dejavu.failing import Compared, Recovery
from servetwin.studies.dejavu.tables import Column, show_notes, show_table

if TYPE_CHECKING:
    from servetwin.results.output import Writer

__all__ = ["described", "show", "write"]

SCHEMA = "servetwin.dejavu_failures/1"
STEM = "dejavu-failures"
FEW = 8

NOTES = (
    "a failure stops the whole ring; what is being computed is lost, and nothing else moves "
    "until the machine is back",
    "replicas are streamed while stages compute, at no cost to them; without replicas every "
    "microbatch in flight begins anew with its prompt",
)


def described(compared: Compared, recovery: Recovery) -> dict[str, Any]:
    """The content of the JSON file."""
    return {
        "schema": SCHEMA,
        "config": compared.done.result.config | {"recovery": asdict(recovery)},
        "failures_s": list(compared.at_s),
        "rings": list(compared.rows()),
        "notes": list(_notes(compared)),
    }


def write(compared: Compared, content: Mapping[str, Any], out: Path) -> list[str]:
    """Write CSV, PNG, HTML and JSON together."""
    from servetwin.report.figures import save
    from servetwin.results.output import write_together
    from servetwin.results.summary import to_json

    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out}: is a file; name a folder")
    chart, text = compared.chart(), to_json(content) + "\n"
    writers: dict[str, Writer] = {
        f"{STEM}.csv": partial(_write_csv, compared),
        f"{STEM}.png": partial(save, chart),
        f"{STEM}.html": partial(save, chart),
        f"{STEM}.json": lambda path: path.write_text(text, encoding="utf-8"),
    }
    write_together(out, writers, ())
    return list(writers)


def _write_csv(compared: Compared, path: Path) -> None:
    rows = list(compared.rows())
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def show(compared: Compared) -> None:
    """Print when machines failed, and what it cost."""
    rows = list(compared.rows())
    times = [f"{at:,.1f}" for at in compared.at_s]
    more = f" and {len(times) - FEW:,} more" if len(times) > FEW else ""
    show_table(
        f"Failures at {', '.join(times[:FEW])} s{more}" if times else "No failure in the run",
        rows,
        (
            Column("ring", ""),
            Column("makespan_s", ",.1f", "makespan s"),
            Column("stall_s", ",.1f", "stall s"),
            Column("mean_latency_s", ",.2f", "latency s"),
            Column("added_mean_s", ",.2f", "added s"),
            Column("added_max_s", ",.2f", "at most"),
            Column("completed", ","),
        ),
    )
    show_table(
        "Work lost",
        rows[1:],
        (
            Column("ring", ""),
            Column("prompts_redone", ",", "prompts redone"),
            Column("rounds_redone", ",", "rounds redone"),
            Column("passes_interrupted", ",", "interrupted"),
        ),
    )
    show_notes(_notes(compared))


def _notes(compared: Compared) -> tuple[str, ...]:
    ends = compared.done.run.makespan_us / 1e6
    none = f"no failure falls into the run, which ends at {ends:,.1f} s without one: see --fail_at"
    return (*(() if compared.at_s else (none,)), *NOTES, *compared.done.result.notes)
