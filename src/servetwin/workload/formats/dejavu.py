"""DéjàVu traces: one JSON list of [prompt tokens, generated tokens].

There are no arrivals: all requests arrive at 0. The published trace has a request that
generates 0 tokens; it is read as 1, since the prefill yields a first token.
"""

from __future__ import annotations

from pathlib import Path

from servetwin.errors import InputError
from servetwin.types import Workload
from servetwin.workload.parsing.batch import Batch
from servetwin.workload.parsing.collect import Collector, Rows
from servetwin.workload.parsing.json_text import json_document
from servetwin.workload.parsing.numbers import token_counts
from servetwin.workload.parsing.text import shown
from servetwin.workload.saving import losses, save_lines

__all__ = ["read", "unwritable", "write"]


def read(path: Path) -> Workload:
    document = json_document(path)
    if not isinstance(document, list):
        raise InputError(f"{path}: a list of [prompt, generated] pairs is needed")
    for number, pair in enumerate(document, start=1):
        if not isinstance(pair, list) or len(pair) != 2:
            raise InputError(
                f"{path}: entry {number}: {shown(pair)} is not a pair [prompt, generated]"
            )
    columns = {
        "prompt": [pair[0] for pair in document],
        "generated": [pair[1] for pair in document],
    }
    places = range(1, len(document) + 1)
    batch = Batch(str(path), places, columns, place_format=": entry {}", noun="number")
    rows = Collector(path)
    inputs = token_counts(batch, "prompt")
    rows.add(Rows(None, inputs, token_counts(batch, "generated", zero_as_one=True)))
    return rows.workload()


def unwritable(workload: Workload) -> list[str]:
    """Name what of the workload the format cannot hold."""
    return losses(workload)


def write(workload: Workload, path: Path) -> None:
    pairs = zip(workload.input_tokens.tolist(), workload.output_tokens.tolist(), strict=True)
    text = ",\n ".join(f"[{given}, {made}]" for given, made in pairs)
    save_lines(path, None, iter([f"[{text}]"]))
