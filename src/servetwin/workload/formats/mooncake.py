"""Mooncake traces: JSONL of timestamp (ms), input_length, output_length, hash_ids.

hash_ids number the consecutive 512-token blocks of the input; equal ids mean equal blocks
behind equal prefixes, over the whole trace. They may be absent (no prefix is known then). A
key `priority` may follow, which no published trace has.
Times count from the trace's own zero.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from servetwin.types import Workload
from servetwin.workload.parsing.batch import Wanted
from servetwin.workload.parsing.blocks import BlockCollector
from servetwin.workload.parsing.collect import Collector, Rows
from servetwin.workload.parsing.json_text import json_batches
from servetwin.workload.parsing.numbers import PRIORITY, priorities, token_counts
from servetwin.workload.parsing.times import UNITS, Clock, decimal_text
from servetwin.workload.saving import losses, save_lines

__all__ = ["BLOCK_TOKENS", "KEYS", "read", "unwritable", "write"]

KEYS = ("timestamp", "input_length", "output_length")
BLOCK_TOKENS = 512
_BATCH_ROWS = 4096


def read(path: Path) -> Workload:
    clock = Clock(UNITS["ms"])
    blocks = BlockCollector(BLOCK_TOKENS)
    rows = Collector(path, blocks)
    for batch in json_batches(path, Wanted(KEYS, ("hash_ids", PRIORITY), _BATCH_ROWS)):
        inputs = token_counts(batch, "input_length")
        outputs = token_counts(batch, "output_length")
        arrivals = clock.arrivals(batch, "timestamp")
        rows.add(Rows(arrivals, inputs, outputs, priorities=priorities(batch)))
        blocks.add(batch, "hash_ids", inputs)
    return rows.workload()


def unwritable(workload: Workload) -> list[str]:
    """Name what of the workload the format cannot hold."""
    hashes = workload.block_hashes
    fits = hashes is None or (hashes.block_tokens == BLOCK_TOKENS and hashes.scope == "global")
    return losses(workload, arrivals=True, hashes=fits, priorities=True)


def write(workload: Workload, path: Path) -> None:
    save_lines(path, None, _lines(workload))


def _lines(workload: Workload) -> Iterator[str]:
    hashes = workload.block_hashes
    for i, at in enumerate(workload.arrival.tolist()):
        text = (
            f'{{"timestamp": {decimal_text(at, UNITS["ms"])}, '
            f'"input_length": {workload.input_tokens[i]}, '
            f'"output_length": {workload.output_tokens[i]}'
        )
        if hashes is not None:
            ids = hashes.ids[hashes.offsets[i] : hashes.offsets[i + 1]].tolist()
            text += f', "hash_ids": {json.dumps(ids)}'
        if workload.priority is not None:
            text += f', "{PRIORITY}": {workload.priority[i]}'
        yield text + "}"
