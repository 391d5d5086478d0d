"""Collector: checked columns of many batches -> one Workload, in order of arrival."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from servetwin.errors import InputError
from servetwin.types import Workload
from servetwin.units import MAX_TIME_PS, NOT_YET
from servetwin.workload.parsing.batch import Batch
from servetwin.workload.parsing.blocks import BlockCollector

__all__ = ["Collector", "Rows", "dense_sessions", "session_labels"]

Ints = NDArray[np.int64]
Tokens = NDArray[np.int32]


@dataclass(frozen=True)
class Rows:
    """Columns of some requests, in file order; `parents` are numbers in file order."""

    arrivals: Ints | None
    """Picoseconds, NOT_YET for follow-ups; None where the trace has none: all arrive at 0."""
    inputs: Tokens
    outputs: Tokens
    sessions: list[Any] | None = None
    """Any labels; None or an empty text is a session of its own."""
    parents: list[int] | None = None
    think_times: list[int] | None = None
    priorities: Tokens | None = None
    """None where none of them has one."""
    adapters: list[Any] | None = None
    """Any labels; None or an empty text is none."""


class Collector:
    """Joins rows and numbers the requests by arrival.

    Requests out of order are sorted stably; a follow-up is sorted with the request that
    opened its chain, so parents stay ahead of their children.
    """

    def __init__(self, path: Path, blocks: BlockCollector | None = None) -> None:
        self.path = path
        self.blocks = blocks
        self._parts: list[Rows] = []

    def add(self, rows: Rows) -> None:
        self._parts.append(rows)

    def workload(self, *, relative: bool = False) -> Workload:
        """Return the Workload; with `relative` the earliest arrival becomes 0."""
        parts = [part for part in self._parts if part.inputs.size]
        if not parts:
            raise InputError(f"{self.path}: no requests in the file")
        arrival = _joined(parts)
        parent = _optional([part.parents for part in parts], np.int32)
        think = _optional([part.think_times for part in parts], np.int64)
        priority = _priorities(parts)
        adapter = None
        if parts[0].adapters is not None:
            adapter = _named([label for part in parts for label in part.adapters or []])
        if relative:
            arrival = self._from_earliest(arrival)
        order = _arrival_order(arrival, parent)
        inputs = np.concatenate([part.inputs for part in parts])
        outputs = np.concatenate([part.outputs for part in parts])
        sessions = None
        if parts[0].sessions is not None:
            sessions = dense_sessions([label for part in parts for label in part.sessions or []])
        if order is not None:
            arrival, inputs, outputs = arrival[order], inputs[order], outputs[order]
            sessions = None if sessions is None else sessions[order]
            think = None if think is None else think[order]
            priority = None if priority is None else priority[order]
            adapter = None if adapter is None else adapter[order]
            parent = None if parent is None else _renumbered(parent, order)
        return Workload(
            arrival=arrival,
            input_tokens=inputs,
            output_tokens=outputs,
            name=self.path.stem or "trace",
            source=str(self.path),
            session_id=sessions,
            parent=parent,
            think_time=think,
            priority=priority,
            adapter=adapter,
            block_hashes=self.blocks.hashes(order) if self.blocks else None,
        )

    def _from_earliest(self, arrival: Ints) -> Ints:
        first, last = int(arrival.min()), int(arrival.max())
        if last - first > MAX_TIME_PS:
            days = (last - first) // (86_400 * 10**12)
            raise InputError(f"{self.path}: the arrivals span {days} days; a trace may span 90")
        return arrival - first


def _joined(parts: list[Rows]) -> Ints:
    return np.concatenate(
        [
            np.zeros(part.inputs.size, np.int64) if part.arrivals is None else part.arrivals
            for part in parts
        ]
    )


def _optional(columns: list[list[int] | None], dtype: type[Any]) -> NDArray[Any] | None:
    if columns[0] is None:
        return None
    return np.array([value for column in columns for value in column or []], dtype=dtype)


def _priorities(parts: list[Rows]) -> Tokens | None:
    columns = [part.priorities for part in parts]
    if all(column is None for column in columns):
        return None
    return np.concatenate(
        [
            np.zeros(part.inputs.size, np.int32) if column is None else column
            for part, column in zip(parts, columns, strict=True)
        ]
    )


def _arrival_order(arrival: Ints, parent: Tokens | None) -> Ints | None:
    """Return the stable order by arrival of each chain's root, or None if already sorted."""
    key = arrival
    if parent is not None:
        root = np.where(parent >= 0, parent, np.arange(parent.size))
        while True:
            further = root[root]
            if np.array_equal(further, root):
                break
            root = further
        key = arrival[root]
    if key.size < 2 or bool(np.all(key[1:] >= key[:-1])):
        return None
    return np.argsort(key, kind="stable")


def _renumbered(parent: Tokens, order: Ints) -> Tokens:
    place = np.empty(order.size, dtype=np.int32)
    place[order] = np.arange(order.size, dtype=np.int32)
    moved = parent[order]
    return np.where(moved >= 0, place[moved], np.int32(NOT_YET)).astype(np.int32)


def session_labels(batch: Batch, column: str) -> list[Any]:
    """Return a column of session labels; raises InputError unless each is text or whole."""
    labels = list(batch.columns[column])
    if not set(map(type, labels)) <= {str, int, type(None)}:
        for row, label in enumerate(labels):
            if type(label) not in (str, int, type(None)):
                problem = "a session is named by text or a whole number"
                raise batch.error(row, column, problem)
    return labels


def dense_sessions(labels: list[Any]) -> Tokens:
    """Return int32 ids: the labels if all are whole, else numbered in order of appearance."""
    kept = _as_numbers(labels)
    if kept is not None:
        return kept
    known: dict[tuple[type, Any], int] = {}
    ids = np.empty(len(labels), dtype=np.int32)
    fresh = 0
    for row, label in enumerate(labels):
        key = (type(label), label)
        found = None if label in (None, "") else known.get(key)
        if found is None:
            found = known[key] = fresh
            fresh += 1
        ids[row] = found
    return ids


def _named(labels: list[Any]) -> Tokens:
    """Return int32 ids as `dense_sessions` does, but -1 for those without a name."""
    named = [label not in (None, "") for label in labels]
    ids = np.full(len(labels), -1, np.int32)
    if any(named):
        names = [label for label, is_one in zip(labels, named, strict=True) if is_one]
        ids[named] = dense_sessions(names)
    return ids


def _as_numbers(labels: list[Any]) -> Tokens | None:
    kinds = set(map(type, labels))
    if kinds == {str} and all(map(str.isdecimal, labels)) and max(map(len, labels)) <= 10:
        numbers = list(map(int, labels))
        if list(map(str, numbers)) != labels:
            return None
    elif kinds == {int}:
        numbers = labels
    else:
        return None
    if min(numbers) < 0 or max(numbers) >= 2**31:
        return None
    return np.array(numbers, dtype=np.int32)
