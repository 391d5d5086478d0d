"""Requests with token ids: JSONL as the LLMServingSim project replays and measures it.

A line is a request (input_toks, output_toks, arrival_time_ns, and optionally input_tok_ids)
or a session (session_id, arrival_time_ns, sub_requests), whose requests run one after the
other: each arrives `tool_duration_ns` of its predecessor after that has finished. Both kinds
may stand in one file; a request alone is then a session of its own. From input_tok_ids come
block hashes of 16 tokens; output_tok_ids are ignored.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from servetwin.errors import InputError, counted
from servetwin.types import Workload
from servetwin.units import NOT_YET
from servetwin.workload.parsing.batch import Batch, chunks
from servetwin.workload.parsing.blocks import BlockCollector, PrefixIds
from servetwin.workload.parsing.collect import Collector, Rows
from servetwin.workload.parsing.csv_table import missing_column
from servetwin.workload.parsing.json_text import json_records
from servetwin.workload.parsing.numbers import token_counts
from servetwin.workload.parsing.times import UNITS, Clock, decimal_text, duration_ps
from servetwin.workload.saving import losses, save_lines

__all__ = ["TOKEN_BLOCK", "read", "unwritable", "write"]

TOKEN_BLOCK = 16
_KEYS = ("input_toks", "output_toks")
_CHUNK_LINES = 64
"""Lines of token ids held at once."""


@dataclass
class _Request:
    """One request of a line, with what its line says of its place in a session."""

    place: str
    record: dict[str, Any]
    arrival: Any
    session: Any
    parent: int
    think_time: int


def read(path: Path) -> Workload:
    reading = _Reading(path)
    for lines in chunks(json_records(path), _CHUNK_LINES):
        reading.add(lines)
    workload = reading.rows.workload()
    if reading.has_sessions:
        return workload
    return replace(workload, session_id=None, parent=None, think_time=None)


def _requests(path: Path, line: int, record: dict[str, Any], first: int) -> list[_Request]:
    """Return the requests of one line; `first` is the number of its first request."""
    if "arrival_time_ns" not in record:
        raise missing_column(f"{path}:{line}", "key", "arrival_time_ns", list(record))
    arrival = record["arrival_time_ns"]
    if "sub_requests" not in record:
        return [_Request(str(line), record, arrival, None, NOT_YET, 0)]
    session = record.get("session_id")
    if not isinstance(session, str | int | None) or isinstance(session, bool):
        raise InputError(f"{path}:{line}: key 'session_id': text or a whole number is needed")
    subs = record["sub_requests"]
    if not isinstance(subs, list) or not subs:
        raise InputError(f"{path}:{line}: key 'sub_requests': a list of requests is needed")
    if session is None:
        session = (line,)
    found = []
    think = 0
    for turn, sub in enumerate(subs):
        place = f"{line}: sub_requests[{turn}]"
        if not isinstance(sub, dict):
            raise InputError(f"{path}:{place}: an object is needed")
        parent = first + turn - 1 if turn else NOT_YET
        found.append(_Request(place, sub, arrival, session, parent, think))
        try:
            think = duration_ps(sub.get("tool_duration_ns", 0), UNITS["ns"])
        except ValueError as error:
            raise InputError(f"{path}:{place}: key 'tool_duration_ns': {error}") from None
        if think < 0:
            raise InputError(f"{path}:{place}: key 'tool_duration_ns': a time is not negative")
    return found


class _Reading:
    """What has been read so far."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.blocks = BlockCollector(TOKEN_BLOCK)
        self.rows = Collector(path, self.blocks)
        self.has_sessions = False
        self._clock = Clock(UNITS["ns"])
        self._prefixes = PrefixIds(TOKEN_BLOCK)
        self._number = 0

    def add(self, lines: list[tuple[int, dict[str, Any]]]) -> None:
        found: list[_Request] = []
        for line, record in lines:
            found.extend(_requests(self.path, line, record, self._number + len(found)))
        self._number += len(found)
        self.has_sessions |= any(request.session is not None for request in found)
        batch = _batch(self.path, found)
        inputs = token_counts(batch, "input_toks")
        outputs = token_counts(batch, "output_toks")
        arrivals = self._clock.arrivals(batch, "arrival_time_ns")
        parents = [request.parent for request in found]
        arrivals[np.array(parents) >= 0] = NOT_YET
        sessions = [request.session for request in found]
        thinks = [request.think_time for request in found]
        self.rows.add(Rows(arrivals, inputs, outputs, sessions, parents, thinks))
        self._add_blocks(batch, inputs.tolist())

    def _add_blocks(self, batch: Batch, inputs: list[int]) -> None:
        for row, tokens in enumerate(batch.columns["input_tok_ids"]):
            try:
                self.blocks.append(self._prefixes.of(_checked(tokens, inputs[row])), inputs[row])
            except ValueError as error:
                raise batch.error(row, "input_tok_ids", str(error)) from None


def _batch(path: Path, found: list[_Request]) -> Batch:
    for request in found:
        for name in _KEYS:
            if name not in request.record:
                keys = list(request.record)
                raise missing_column(f"{path}:{request.place}", "key", name, keys)
    columns = {name: [request.record[name] for request in found] for name in _KEYS}
    columns["arrival_time_ns"] = [request.arrival for request in found]
    columns["input_tok_ids"] = [request.record.get("input_tok_ids") for request in found]
    return Batch(str(path), [request.place for request in found], columns)


def _checked(tokens: Any, given: int) -> list[Any]:
    if tokens is None:
        return []
    if not isinstance(tokens, list):
        raise ValueError("a list of token ids is needed")
    if tokens and len(tokens) != given:
        raise ValueError(f"{counted(len(tokens), 'token id')}, but input_toks is {given}")
    return tokens


def unwritable(workload: Workload) -> list[str]:
    """Name what of the workload the format cannot hold: hashes, and sessions that branch."""
    lost = losses(workload, arrivals=True, sessions=True, follow_ups=True)
    if workload.parent is not None:
        parents = workload.parent[workload.parent >= 0]
        if np.unique(parents).size < parents.size:
            lost.append("follow-ups that run side by side")
    return lost


def write(workload: Workload, path: Path) -> None:
    """Write one line a request, or one a chain of follow-ups where there are sessions.

    A chain's requests are then read back next to each other, numbered from its first.
    """
    save_lines(path, None, _lines(workload))


def _lines(workload: Workload) -> Iterator[str]:
    following = {}
    if workload.parent is not None:
        following = {parent: i for i, parent in enumerate(workload.parent.tolist()) if parent >= 0}
    for first, at in enumerate(workload.arrival.tolist()):
        if at == NOT_YET:
            continue
        arrival = f'"arrival_time_ns": {decimal_text(at, UNITS["ns"])}'
        if workload.session_id is None and workload.parent is None:
            yield f"{{{_lengths(workload, first)}, {arrival}}}"
            continue
        chain = [first]
        while chain[-1] in following:
            chain.append(following[chain[-1]])
        name = first if workload.session_id is None else int(workload.session_id[first])
        subs = ", ".join(_sub_request(workload, i, following.get(i)) for i in chain)
        yield f'{{"session_id": "{name}", {arrival}, "sub_requests": [{subs}]}}'


def _lengths(workload: Workload, i: int) -> str:
    given, made = workload.input_tokens[i], workload.output_tokens[i]
    return f'"input_toks": {given}, "output_toks": {made}'


def _sub_request(workload: Workload, i: int, after: int | None) -> str:
    think = 0
    if after is not None and workload.think_time is not None:
        think = int(workload.think_time[after])
    tool = decimal_text(think, UNITS["ns"])
    return f'{{{_lengths(workload, i)}, "tool_duration_ns": {tool}}}'
