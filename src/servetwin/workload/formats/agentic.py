"""Agentic sessions: one JSON file a session, or a folder of them; a closed loop.

A session is an object with `requests`, `block_size` and `hash_id_scope`. Its requests are
chained: each arrives `think_time` seconds after the one before it has finished. Where
think_time is missing, the recorded gap stands in: `t` minus the predecessor's t + api_time.
The first request of every session arrives at 0 (`transform.with_arrivals` spreads them).

An entry of type `subagent` holds requests of its own, chained likewise. Consecutive
sub-agents run side by side, all starting from the request before them. The outer
conversation resumes after that sub-agent that ended last in the recording, because a
request has one parent here: if another one ends later in a simulation, the conversation
does not wait for it. Its wait is the recorded gap, since its think_time contains the
sub-agent's running time.

hash_ids number the full blocks of the input (an unfilled last block has no id) and are
comparable within the session, sub-agents included, unless the scope is `global`. Requests
that were broken off have 0 output tokens; that is read as 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from servetwin.errors import InputError
from servetwin.types import Workload
from servetwin.types.workload import MAX_TOKENS
from servetwin.units import MAX_TIME_PS, NOT_YET
from servetwin.workload.parsing.batch import Batch
from servetwin.workload.parsing.blocks import BlockCollector
from servetwin.workload.parsing.collect import Collector, Rows
from servetwin.workload.parsing.csv_table import missing_column
from servetwin.workload.parsing.json_text import json_document
from servetwin.workload.parsing.numbers import token_counts
from servetwin.workload.parsing.text import trace_files
from servetwin.workload.parsing.times import UNITS, duration_ps

__all__ = ["read"]

_MAX_NESTING = 8
_SCOPES = {"local": "session", "global": "global"}


def read(path: Path) -> Workload:
    """Read one session, or every `*.json` of a folder in order of name."""
    files = trace_files(path)
    blocks: BlockCollector | None = None
    rows: Collector | None = None
    number = 0
    for session, file in enumerate(files):
        document = _session(file)
        size, scope = _block_size(file, document), _scope(file, document)
        if blocks is None or rows is None:
            blocks = BlockCollector(size, scope)
            rows = Collector(path, blocks)
        if (blocks.block_tokens, blocks.scope) != (size, scope):
            raise InputError(f"{file}: block_size and hash_id_scope differ from {files[0].name}'s")
        chain = _Chain(str(file), number)
        chain.conversation(document["requests"], "requests", _End())
        number += len(chain.labels)
        _add(rows, blocks, chain, session)
    assert rows is not None
    return rows.workload()


def _session(file: Path) -> dict[str, Any]:
    document = json_document(file)
    if not isinstance(document, dict):
        raise InputError(f"{file}: a session is a JSON object with 'requests'")
    if "requests" not in document:
        raise missing_column(str(file), "key", "requests", list(document))
    return document


def _block_size(file: Path, document: dict[str, Any]) -> int:
    size = document.get("block_size", 64)
    if type(size) is not int or not 1 <= size <= MAX_TOKENS:
        raise InputError(f"{file}: key 'block_size': a whole number of tokens is needed")
    return size


def _scope(file: Path, document: dict[str, Any]) -> str:
    scope = document.get("hash_id_scope", "local")
    if not isinstance(scope, str) or scope not in _SCOPES:
        raise InputError(f"{file}: key 'hash_id_scope': 'local' or 'global' is needed")
    return _SCOPES[scope]


def _add(rows: Collector, blocks: BlockCollector, chain: _Chain, session: int) -> None:
    columns = {
        name: [record.get(name) for record in chain.records] for name in ("in", "out", "hash_ids")
    }
    batch = Batch(chain.file, chain.labels, columns, place_format=": {}")
    inputs = token_counts(batch, "in")
    outputs = token_counts(batch, "out", zero_as_one=True)
    parents = np.array(chain.parents, dtype=np.int64)
    arrivals = np.where(parents >= 0, NOT_YET, 0).astype(np.int64)
    labels = [session] * len(chain.labels)
    rows.add(Rows(arrivals, inputs, outputs, labels, chain.parents, chain.think_times))
    blocks.add(batch, "hash_ids", inputs)


@dataclass(frozen=True)
class _End:
    """Where a conversation stands: the request last made and when it ended in the recording."""

    request: int = NOT_YET
    time: int = 0
    """Picoseconds on the clock of the conversation that goes on from here."""


@dataclass
class _Chain:
    """The requests of one session, flattened; a sub-agent's stand where its entry stood."""

    file: str
    first: int
    """Number of the session's first request within the workload."""
    labels: list[str] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    think_times: list[int] = field(default_factory=list)

    def conversation(self, entries: object, label: str, start: _End, depth: int = 0) -> _End:
        """Append a conversation that goes on from `start`; return its end.

        For a sub-agent, `start.time` is minus the recorded wait for its first request, and
        the returned time is counted from that first request on.
        """
        if not isinstance(entries, list):
            raise InputError(f"{self.file}: {label}: a list of requests is needed")
        if depth > _MAX_NESTING:
            raise InputError(f"{self.file}: {label}: sub-agents are nested too deeply")
        last, pending = start, list[_End]()
        for at, entry in enumerate(entries):
            place = f"{label}[{at}]"
            if not isinstance(entry, dict):
                raise InputError(f"{self.file}: {place}: an object is needed")
            if entry.get("type") == "subagent":
                pending.append(self._sub_agent(entry, place, last, depth))
                continue
            waited = max(pending, key=lambda end: end.time, default=None)
            opens = last is start or waited is not None
            last = self._request(entry, place, waited or last, opens)
            pending = []
        return max([last, *pending], key=lambda end: end.time)

    def _sub_agent(self, entry: dict[str, Any], place: str, before: _End, depth: int) -> _End:
        """Append a sub-agent that starts after `before`; return its end on the outer clock."""
        if "requests" not in entry:
            where = f"{self.file}: {place}"
            raise missing_column(where, "key", "requests", list(entry))
        began = self._time(entry, "t", place)
        began = before.time if began is None else began
        entries = entry["requests"]
        inner = None
        if isinstance(entries, list) and entries and isinstance(entries[0], dict):
            inner = self._time(entries[0], "t", f"{place}.requests[0]")
        shift = began - (inner or 0)
        start = _End(before.request, before.time - shift)
        end = self.conversation(entries, f"{place}.requests", start, depth + 1)
        return _End(end.request, end.time + shift)

    def _request(self, entry: dict[str, Any], place: str, after: _End, opens: bool) -> _End:
        for name in ("in", "out"):
            if name not in entry:
                raise missing_column(f"{self.file}: {place}", "key", name, list(entry))
        began = self._time(entry, "t", place)
        began = after.time if began is None else began
        # The think_time of a conversation's first request is 0, whatever went before.
        think = None if opens else self._time(entry, "think_time", place)
        if think is None:
            think = max(0, began - after.time)
        if think > MAX_TIME_PS:
            raise InputError(f"{self.file}: {place}: starts more than 90 days after the one before")
        self.labels.append(place)
        self.records.append(entry)
        self.parents.append(after.request)
        self.think_times.append(think if after.request >= 0 else 0)
        served = self._time(entry, "api_time", place) or 0
        return _End(self.first + len(self.labels) - 1, began + served)

    def _time(self, entry: dict[str, Any], key: str, place: str) -> int | None:
        """Return a time in picoseconds, or None where it is absent."""
        value = entry.get(key)
        if value is None:
            return None
        try:
            time = duration_ps(value, UNITS["s"])
        except ValueError as error:
            raise InputError(f"{self.file}: {place}: key '{key}': {error}") from None
        if not 0 <= time <= MAX_TIME_PS:
            right = "0 to 90 days in seconds are needed"
            raise InputError(f"{self.file}: {place}: key '{key}': {value} s; {right}")
        return time
