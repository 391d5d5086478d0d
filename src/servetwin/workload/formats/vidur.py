"""Vidur traces: CSV of arrived_at (s, optional), num_prefill_tokens, num_decode_tokens.

Times count from the trace's own zero. Files of lengths alone (ShareGPT, arXiv) have no
arrivals: all their requests arrive at 0. Other columns are ignored.
"""

from __future__ import annotations

from pathlib import Path

from servetwin.types import Workload
from servetwin.workload.parsing.batch import Wanted
from servetwin.workload.parsing.collect import Collector, Rows
from servetwin.workload.parsing.csv_table import csv_batches
from servetwin.workload.parsing.numbers import token_counts
from servetwin.workload.parsing.times import UNITS, Clock, decimal_text
from servetwin.workload.saving import losses, save_lines

__all__ = ["COLUMNS", "read", "unwritable", "write"]

COLUMNS = ("num_prefill_tokens", "num_decode_tokens")
_ARRIVAL = "arrived_at"


def read(path: Path) -> Workload:
    clock = Clock(UNITS["s"])
    rows = Collector(path)
    for batch in csv_batches(path, Wanted(COLUMNS, (_ARRIVAL,))):
        arrivals = clock.arrivals(batch, _ARRIVAL) if _ARRIVAL in batch.columns else None
        inputs = token_counts(batch, "num_prefill_tokens")
        rows.add(Rows(arrivals, inputs, token_counts(batch, "num_decode_tokens")))
    return rows.workload()


def unwritable(workload: Workload) -> list[str]:
    """Name what of the workload the format cannot hold."""
    return losses(workload, arrivals=True)


def write(workload: Workload, path: Path) -> None:
    rows = zip(
        workload.arrival.tolist(),
        workload.input_tokens.tolist(),
        workload.output_tokens.tolist(),
        strict=True,
    )
    lines = (f"{decimal_text(at)},{given},{made}" for at, given, made in rows)
    save_lines(path, ",".join((_ARRIVAL, *COLUMNS)), lines)
