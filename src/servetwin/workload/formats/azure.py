"""Azure LLM inference traces: CSV of TIMESTAMP, ContextTokens, GeneratedTokens.

TIMESTAMP is the wall clock of the invocation with 100 ns resolution; the earliest request
arrives at 0. No row of the published traces has 0 tokens, so 0 is an error. A column `priority`
may follow, which none of them has.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from servetwin.types import Workload
from servetwin.units import PS_PER_S
from servetwin.workload.parsing.batch import Wanted
from servetwin.workload.parsing.collect import Collector, Rows
from servetwin.workload.parsing.csv_table import csv_batches
from servetwin.workload.parsing.numbers import PRIORITY, priorities, token_counts
from servetwin.workload.parsing.times import ISO, Clock
from servetwin.workload.saving import losses, save_lines, with_priorities

__all__ = ["COLUMNS", "read", "unwritable", "write"]

COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")

_WRITTEN_EPOCH = datetime(2000, 1, 1)


def read(path: Path) -> Workload:
    """Read the CSV; the zone of the timestamps does not matter, their differences do."""
    clock = Clock(ISO, relative=True)
    rows = Collector(path)
    for batch in csv_batches(path, Wanted(COLUMNS, (PRIORITY,))):
        inputs = token_counts(batch, "ContextTokens")
        outputs = token_counts(batch, "GeneratedTokens")
        arrivals = clock.arrivals(batch, "TIMESTAMP")
        rows.add(Rows(arrivals, inputs, outputs, priorities=priorities(batch)))
    return rows.workload(relative=True)


def unwritable(workload: Workload) -> list[str]:
    """Name what of the workload the format cannot hold."""
    return losses(workload, arrivals=True, priorities=True)


def write(workload: Workload, path: Path) -> None:
    """Write timestamps from 2000-01-01 on; more than 7 digits only where needed."""
    save_lines(path, None, with_priorities(workload, _lines(workload)))


def _lines(workload: Workload) -> Iterator[str]:
    def stamp(arrival: int) -> str:
        seconds, picos = divmod(arrival, PS_PER_S)
        moment = _WRITTEN_EPOCH + timedelta(seconds=seconds)
        fraction = f"{picos:012d}"
        return f"{moment:%Y-%m-%d %H:%M:%S}.{fraction[:7]}{fraction[7:].rstrip('0')}"

    rows = zip(
        workload.arrival.tolist(),
        workload.input_tokens.tolist(),
        workload.output_tokens.tolist(),
        strict=True,
    )
    yield ",".join(COLUMNS)
    for at, given, made in rows:
        yield f"{stamp(at)},{given},{made}"
