"""Any request log, CSV, JSONL or Parquet, read through a mapping of roles to its columns.

`arrival=ts:ms,input=prompt_tokens,output=completion_tokens,session=user,priority=class,adapter=lora`:
only input and output must be named. A unit (s, ms, us, ns, iso) may follow the arrival's column;
without one, values that look like `2023-11-16 18:15:46` are timestamps and numbers are seconds.
The earliest request arrives at 0. In JSONL a name such as `usage.prompt_tokens` reaches into
nested objects. 0 tokens are an error here: in a log they mostly mark a failed request.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from servetwin.errors import InputError, nearest
from servetwin.types import Workload
from servetwin.workload.parsing.batch import Batch, Wanted
from servetwin.workload.parsing.collect import Collector, Rows, session_labels
from servetwin.workload.parsing.csv_table import csv_batches
from servetwin.workload.parsing.json_text import json_batches
from servetwin.workload.parsing.numbers import priorities, token_counts
from servetwin.workload.parsing.parquet_table import is_parquet, parquet_batches
from servetwin.workload.parsing.text import check_file, text_lines
from servetwin.workload.parsing.times import ISO, UNITS, Clock, looks_like_iso

__all__ = ["ROLES", "parse_mapping", "read_mapped"]

ROLES = ("arrival", "input", "output", "session", "priority", "adapter")

_EXAMPLE = "arrival=ts:ms,input=prompt_tokens,output=completion_tokens"


def parse_mapping(text: str) -> dict[str, str]:
    """Split `role=column,…` as given on a command line; raises InputError."""
    mapping: dict[str, str] = {}
    for part in text.split(","):
        role, equals, column = part.partition("=")
        role = role.strip()
        if not equals or not column.strip():
            raise InputError(f"mapping '{part.strip()}' is not role=column, as in {_EXAMPLE}")
        if role in mapping:
            raise InputError(f"mapping names the role '{role}' twice")
        mapping[role] = column.strip()
    _checked(mapping)
    return mapping


@dataclass(frozen=True)
class _Mapping:
    input: str
    output: str
    arrival: str | None
    unit: int | None
    session: str | None
    priority: str | None
    adapter: str | None

    def wanted(self) -> Wanted:
        """Return the columns, each once; where values may be null, a column is optional."""
        required = _each_once(self.arrival, self.input, self.output)
        others = _each_once(self.session, self.priority, self.adapter)
        return Wanted(required, tuple(name for name in others if name not in required))


def _each_once(*names: str | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in names if name is not None))


def _checked(mapping: Mapping[str, str]) -> _Mapping:
    for role in mapping:
        if role not in ROLES:
            hint = nearest(role, ROLES) or f"roles are {', '.join(ROLES)}"
            raise InputError(f"mapping: unknown role '{role}'; {hint}")
    for role in ("input", "output"):
        if role not in mapping:
            raise InputError(f"mapping: the role '{role}' is missing, as in {_EXAMPLE}")
    arrival, unit = mapping.get("arrival"), None
    if arrival is not None:
        column, colon, suffix = arrival.rpartition(":")
        if colon and suffix in (*UNITS, "iso"):
            arrival, unit = column, UNITS.get(suffix, ISO)
    others = (mapping.get(role) for role in ("session", "priority", "adapter"))
    return _Mapping(mapping["input"], mapping["output"], arrival, unit, *others)


def read_mapped(path: Path, mapping: Mapping[str, str]) -> Workload:
    """Read a log whose columns `mapping` names."""
    names = _checked(mapping)
    clock: Clock | None = None
    rows = Collector(path)
    for batch in _batches(path, names.wanted()):
        arrivals = None
        if names.arrival is not None:
            if clock is None:
                clock = Clock(_unit(names, batch), relative=True)
            arrivals = clock.arrivals(batch, names.arrival)
        inputs = token_counts(batch, names.input)
        outputs = token_counts(batch, names.output)
        ranks = None if names.priority is None else priorities(batch, names.priority)
        sessions = _labels(names.session, batch, "sessions")
        adapters = _labels(names.adapter, batch, "adapters")
        rows.add(Rows(arrivals, inputs, outputs, sessions, priorities=ranks, adapters=adapters))
    workload = rows.workload(relative=True)
    if names.priority is not None and workload.priority is None:
        raise InputError(f"{path}: no '{names.priority}' with priorities")
    return workload


def _labels(name: str | None, batch: Batch, what: str) -> list[Any] | None:
    """Names of sessions or adapters."""
    if name is None:
        return None
    labels = batch.columns.get(name)
    if labels is None or all(label is None for label in labels):
        raise InputError(f"{batch.path}: no {batch.noun} '{name}' to tell {what} by")
    return session_labels(batch, name)


def _unit(names: _Mapping, batch: Batch) -> int:
    if names.unit is not None:
        return names.unit
    values = batch.columns[names.arrival or ""]
    return ISO if len(values) and looks_like_iso(values[0]) else UNITS["s"]


def _batches(path: Path, wanted: Wanted) -> Iterator[Batch]:
    check_file(path)
    if is_parquet(path):
        return parquet_batches(path, wanted)
    first = next((line for _, line in text_lines(path) if not line.isspace()), "")
    if first.lstrip().startswith("{"):
        return json_batches(path, wanted)
    return csv_batches(path, wanted)
