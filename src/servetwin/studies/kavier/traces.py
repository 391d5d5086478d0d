"""The trace a command names: a file, or a stand-in for one that the document names."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from servetwin.errors import InputError

if TYPE_CHECKING:
    from servetwin.types import Workload

__all__ = ["STAND_INS", "Found", "find_trace"]

LENGTHS = tuple(2**power for power in range(6, 15))
"""Prompts of the prefill trace: 64 to 16,384 tokens."""

DECODED = (11, 25, 53, 106, 206, 409, 769, 1838, 3109, 6585, 13940)
"""Output tokens of the decode trace, for prompts of 7 tokens (Kavier's repository, MIT)."""
DECODE_PROMPT = 7

MARCONI = "marconi-equivalent"
STAND_INS = {
    "input_prefill_accuracy.csv": "prefill lengths of the document",
    "input_decode_accuracy.csv": "decode lengths of the document",
    "marconi_all_traces_only_counts.csv": MARCONI,
    "marconi_all_traces.csv": MARCONI,
    "marconi_full.parquet": MARCONI,
    "small.parquet": MARCONI,
    MARCONI: MARCONI,
}
"""By the name of the file that the document names; the last can be asked for."""


@dataclass(frozen=True)
class Found:
    """Requests, and where they came from if that needs to be said."""

    workload: Workload
    notes: tuple[str, ...]


def find_trace(path: str, requests: int | None = None) -> Found:
    """Read the trace, or make the stand-in for a missing file that the document names.

    `requests` takes the first so many. Raises InputError for any other file that is missing,
    and for one that cannot be read.
    """
    from servetwin.workload import read, take

    notes: tuple[str, ...] = ()
    name = Path(path).name
    if name in STAND_INS and not Path(path).exists():
        workload, text = _stand_in(name)
        notes = (text if path == MARCONI else f"'{path}' does not exist; instead: {text}",)
    elif not Path(path).exists():
        hint = f"--trace {MARCONI} is an equivalent of Kavier's"
        raise InputError(f"--trace '{path}': no such file; {hint}")
    else:
        workload = read(path)
    if requests is not None and requests < len(workload):
        notes = (*notes, f"only the first {requests:,} of {len(workload):,} requests")
        workload = take(workload, requests)
    return Found(workload, notes)


def _stand_in(name: str) -> tuple[Workload, str]:
    from servetwin.workload import marconi_equivalent

    if STAND_INS[name] != MARCONI:
        return _lengths(name), f"the {STAND_INS[name]}, which are packaged"
    workload = marconi_equivalent()
    if "only_counts" in name:
        workload = replace(workload, block_hashes=None)
    return workload, (
        f"a generated equivalent of the unpublished trace ({len(workload):,} requests; its "
        "totals, hours and hits, not its prompts)"
    )


def _lengths(name: str) -> Workload:
    import numpy as np

    from servetwin.types import Workload

    if "prefill" in name:
        inputs, outputs = LENGTHS, (1,) * len(LENGTHS)
    else:
        inputs, outputs = (DECODE_PROMPT,) * len(DECODED), DECODED
    return Workload(
        arrival=np.zeros(len(inputs), np.int64),
        input_tokens=np.array(inputs, np.int32),
        output_tokens=np.array(outputs, np.int32),
        name=name,
        source=f"packaged, as {name}",
    )
