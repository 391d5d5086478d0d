"""Workload: a table of requests, as columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from servetwin.units import MAX_TIME_PS, NOT_YET

__all__ = ["MAX_TOKENS", "BlockHashes", "Workload"]

MAX_TOKENS = 100_000_000
"""Most tokens one request may name; more is taken for a broken file."""

Ints = NDArray[np.int64]
Tokens = NDArray[np.int32]


@dataclass(frozen=True)
class BlockHashes:
    """Ids of the consecutive prefix blocks of each request's input.

    Request `i` owns `ids[offsets[i]:offsets[i + 1]]`; the last block may be partial.
    Equal ids mean equal blocks behind equal prefixes.
    """

    offsets: Ints
    ids: Ints
    block_tokens: int
    scope: str = "global"
    """`global`, or `session`: ids are comparable only within one session."""

    def __post_init__(self) -> None:
        if self.block_tokens < 1:
            raise ValueError("block_tokens must be at least 1")
        if self.scope not in ("global", "session"):
            raise ValueError("scope is 'global' or 'session'")
        if self.offsets.size == 0 or self.offsets[0] != 0 or self.offsets[-1] != self.ids.size:
            raise ValueError("offsets must run from 0 to the number of ids")
        if np.any(np.diff(self.offsets) < 0):
            raise ValueError("offsets must not decrease")


@dataclass(frozen=True)
class Workload:
    """Requests in the order in which they are numbered.

    `arrival` is in picoseconds since the start and does not decrease along the requests
    that have one. A follow-up (a turn of a closed loop) has `arrival == NOT_YET`, a
    `parent` of a smaller number, and arrives `max(think_time, 1 ps)` after its parent
    has finished. All columns have one entry per request.
    """

    arrival: Ints
    input_tokens: Tokens
    output_tokens: Tokens
    name: str = "workload"
    source: str = "generated"
    session_id: Tokens | None = None
    parent: Tokens | None = None
    """Number of the request that must finish first, or -1."""
    think_time: Ints | None = None
    """Picoseconds between the parent's finish and this arrival; 0 where there is no parent."""
    priority: Tokens | None = None
    """The smaller, the sooner an engine serves the request that heeds it; 0 where none is said."""
    adapter: Tokens | None = None
    """Which LoRA adapter the request needs, -1 for none."""
    block_hashes: BlockHashes | None = None
    notes: tuple[str, ...] = ()
    """What a reader of results should know, in sentences."""
    digest: str = ""
    """First 16 hexadecimal digits of the SHA-256 of the file, "" for what comes from none."""

    def __post_init__(self) -> None:
        n = self.arrival.size
        if n == 0:
            raise ValueError("a workload needs at least one request")
        columns = {
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "session_id": self.session_id,
            "parent": self.parent,
            "think_time": self.think_time,
            "priority": self.priority,
            "adapter": self.adapter,
        }
        for name, column in columns.items():
            if column is not None and column.shape != (n,):
                raise ValueError(f"{name} must have one entry for each of the {n} requests")
        _check_range("input_tokens", self.input_tokens, 1, MAX_TOKENS)
        _check_range("output_tokens", self.output_tokens, 1, MAX_TOKENS)
        if self.adapter is not None:
            _check_range("adapter", self.adapter, -1, 2**31 - 1)
        self._check_times(n)
        if self.block_hashes is not None and self.block_hashes.offsets.size != n + 1:
            raise ValueError("block_hashes.offsets must have one entry more than the requests")

    def _check_times(self, n: int) -> None:
        parent = self.parent
        if parent is None:
            roots = self.arrival
        else:
            if np.any(parent >= np.arange(n)) or np.any(parent < -1):
                raise ValueError("a parent must be a request of a smaller number, or -1")
            follow_up = parent >= 0
            if np.any(self.arrival[follow_up] != NOT_YET):
                raise ValueError("a request with a parent has no arrival of its own")
            if follow_up.any() and self.think_time is None:
                raise ValueError("requests with a parent need think_time")
            roots = self.arrival[~follow_up]
        if self.think_time is not None:
            _check_range("think_time", self.think_time, 0, MAX_TIME_PS)
        _check_range("arrival", roots, 0, MAX_TIME_PS)
        if np.any(np.diff(roots) < 0):
            raise ValueError("arrivals must not decrease")

    def __len__(self) -> int:
        return int(self.arrival.size)

    @property
    def closed_loop(self) -> bool:
        """Whether any request waits for another to finish."""
        return self.parent is not None and bool(np.any(self.parent >= 0))

    @property
    def span_ps(self) -> int:
        """Picoseconds from the first to the last arrival that is known beforehand."""
        known = self.arrival[self.arrival != NOT_YET]
        return int(known[-1] - known[0])


def _check_range(name: str, column: NDArray[np.int64] | Tokens, low: int, high: int) -> None:
    if column.size and (column.min() < low or column.max() > high):
        raise ValueError(f"{name} must lie between {low} and {high}")
