"""Vidur traces: CSV of arrived_at (s, optional), num_prefill_tokens, num_decode_tokens.

Times count from the trace's own zero. Files of lengths alone (ShareGPT, arXiv) have no
arrivals: all their requests arrive at 0. A column `priority` may follow; others are ignored.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from servetwin.types import Workload
from servetwin.workload.parsing.batch import Wanted
from servetwin.workload.parsing.collect import Collector, Rows
from servetwin.workload.parsing.csv_table import csv_batches
from servetwin.workload.parsing.numbers import PRIORITY, priorities, token_counts
from servetwin.workload.parsing.times import UNITS, Clock, decimal_text
from servetwin.workload.saving import losses, save_lines, with_priorities

__all__ = ["COLUMNS", "read", "unwritable", "write"]

COLUMNS = ("num_prefill_tokens", "num_decode_tokens")
_ARRIVAL = "arrived_at"


def read(path: Path) -> Workload:
    clock = Clock(UNITS["s"])
    rows = Collector(path)
    for batch in csv_batches(path, Wanted(COLUMNS, (_ARRIVAL, PRIORITY))):
        arrivals = clock.arrivals(batch, _ARRIVAL) if _ARRIVAL in batch.columns else None
        inputs = token_counts(batch, "num_prefill_tokens")
        outputs = token_counts(batch, "num_decode_tokens")
        rows.add(Rows(arrivals, inputs, outputs, priorities=priorities(batch)))
    return rows.workload()


def unwritable(workload: Workload) -> list[str]:
    """Name what of the workload the format cannot hold."""
    return losses(workload, arrivals=True, priorities=True)


def write(workload: Workload, path: Path) -> None:
    save_lines(path, None, with_priorities(workload, _lines(workload)))


def _lines(workload: Workload) -> Iterator[str]:
    rows = zip(
        workload.arrival.tolist(),
        workload.input_tokens.tolist(),
        workload.output_tokens.tolist(),
        strict=True,
    )
    yield ",".join((_ARRIVAL, *COLUMNS))
    for at, given, made in rows:
        yield f"{decimal_text(at)},{given},{made}"
