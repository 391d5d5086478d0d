"""Kavier traces: CSV or Parquet of num_input_tokens, num_output_tokens, and optionally
ts (s), session_id, turn_id, input_tokens and output_tokens (lists of token ids, as JSON text
or as Parquet lists).

Each turn arrives at its own `ts`; without that column all arrive at 0. Times count from the
trace's own zero. turn_id is ignored (the order in time is what counts), and so are the ids
of generated tokens. The published prefill trace generates 0 tokens; that is read as 1,
since the prefill yields a first token.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from servetwin.errors import counted
from servetwin.types import Workload
from servetwin.workload.parsing.batch import Batch, Wanted
from servetwin.workload.parsing.blocks import BlockCollector, PrefixIds
from servetwin.workload.parsing.collect import Collector, Rows, session_labels
from servetwin.workload.parsing.csv_table import csv_batches
from servetwin.workload.parsing.json_text import parse_json
from servetwin.workload.parsing.numbers import token_counts
from servetwin.workload.parsing.parquet_table import is_parquet, parquet_batches
from servetwin.workload.parsing.text import check_file
from servetwin.workload.parsing.times import UNITS, Clock, decimal_text
from servetwin.workload.saving import losses, save_lines, save_table

__all__ = ["COLUMNS", "TOKEN_BLOCK", "read", "unwritable", "write"]

COLUMNS = ("num_input_tokens", "num_output_tokens")
TOKEN_BLOCK = 16
"""Tokens in a block that is made from token ids: the block size vLLM caches by default."""

_BATCH_ROWS = 1024
_OPTIONAL = ("ts", "session_id", "input_tokens")


def read(path: Path) -> Workload:
    check_file(path)
    batches = parquet_batches if is_parquet(path) else csv_batches
    clock = Clock(UNITS["s"])
    blocks = BlockCollector(TOKEN_BLOCK)
    prefixes = PrefixIds(TOKEN_BLOCK)
    rows = Collector(path, blocks)
    for batch in batches(path, Wanted(COLUMNS, _OPTIONAL, _BATCH_ROWS)):
        inputs = token_counts(batch, "num_input_tokens")
        outputs = token_counts(batch, "num_output_tokens", zero_as_one=True)
        arrivals = clock.arrivals(batch, "ts") if "ts" in batch.columns else None
        sessions = session_labels(batch, "session_id") if "session_id" in batch.columns else None
        rows.add(Rows(arrivals, inputs, outputs, sessions))
        for row, given in enumerate(inputs.tolist()):
            tokens = _tokens(batch, row, given) if "input_tokens" in batch.columns else []
            try:
                blocks.append(prefixes.of(tokens), given)
            except ValueError as error:
                raise batch.error(row, "input_tokens", str(error)) from None
    return rows.workload()


def _tokens(batch: Batch, row: int, given: int) -> list[Any]:
    """Return the token ids of one cell, [] where it is empty."""
    cell = batch.columns["input_tokens"][row]
    if isinstance(cell, str) and cell.strip():
        where = str(batch.error(row, "input_tokens", "not a list of token ids")).removesuffix(
            ": not a list of token ids"
        )
        cell = parse_json(cell, where)
    if not cell:
        return []
    if not isinstance(cell, list):
        raise batch.error(row, "input_tokens", "a list of token ids is needed")
    if len(cell) != given:
        problem = f"{counted(len(cell), 'token id')}, but num_input_tokens is {given}"
        raise batch.error(row, "input_tokens", problem)
    return cell


def unwritable(workload: Workload) -> list[str]:
    """Name what of the workload the format cannot hold."""
    return losses(workload, arrivals=True, sessions=True)


def write(workload: Workload, path: Path) -> None:
    """Write Parquet where the name ends in `.parquet`, CSV otherwise."""
    if path.suffix.lower() == ".parquet":
        save_table(path, _table(workload))
    else:
        header = "session_id,turn_id," if workload.session_id is not None else ""
        save_lines(path, f"{header}ts,{','.join(COLUMNS)}", _lines(workload))


def _turns(workload: Workload) -> list[int]:
    """Number each request within its session, from 0."""
    counters: dict[int, count[int]] = {}
    ids = [] if workload.session_id is None else workload.session_id.tolist()
    return [next(counters.setdefault(session, count())) for session in ids]


def _lines(workload: Workload) -> Iterator[str]:
    heads = [""] * len(workload)
    if workload.session_id is not None:
        turns = zip(workload.session_id.tolist(), _turns(workload), strict=True)
        heads = [f"{session},{turn}," for session, turn in turns]
    rows = zip(
        heads,
        workload.arrival.tolist(),
        workload.input_tokens.tolist(),
        workload.output_tokens.tolist(),
        strict=True,
    )
    return (f"{head}{decimal_text(at)},{given},{made}" for head, at, given, made in rows)


def _table(workload: Workload) -> Any:
    """Return the Arrow table; `ts` is decimal, because a float would lose picoseconds."""
    from decimal import Decimal

    import pyarrow as pa

    seconds = [Decimal(at).scaleb(-12) for at in workload.arrival.tolist()]
    columns: dict[str, Any] = {}
    if workload.session_id is not None:
        columns = {"session_id": workload.session_id, "turn_id": _turns(workload)}
    columns["ts"] = pa.array(seconds, pa.decimal128(24, 12))
    columns["num_input_tokens"] = workload.input_tokens
    columns["num_output_tokens"] = workload.output_tokens
    return pa.table(columns)
