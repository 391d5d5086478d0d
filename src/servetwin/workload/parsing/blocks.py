"""Prefix blocks of inputs: ids as a trace gives them, or made from token ids."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from servetwin.errors import counted
from servetwin.types import BlockHashes
from servetwin.units import ceil_div
from servetwin.workload.parsing.batch import Batch

__all__ = ["BlockCollector", "PrefixIds"]

Ints = NDArray[np.int64]


class BlockCollector:
    """Gathers the ids of each request's blocks, in the order of the requests."""

    def __init__(self, block_tokens: int, scope: str = "global") -> None:
        self.block_tokens = block_tokens
        self.scope = scope
        self._ids = array("q")
        self._counts: list[int] = []

    def add(self, batch: Batch, column: str, inputs: NDArray[np.int32]) -> None:
        """Append a column of lists of ids; None stands for an unknown prefix.

        `inputs` are the input lengths in tokens, which bound the number of ids.
        """
        for row, ids in enumerate(batch.columns[column]):
            try:
                self.append(ids or [] if isinstance(ids, list | None) else ids, int(inputs[row]))
            except ValueError as error:
                raise batch.error(row, column, str(error)) from None

    def append(self, ids: Any, input_tokens: int) -> None:
        """Append the ids of one request; raises ValueError where they cannot be right."""
        if not isinstance(ids, list):
            raise ValueError("a list of block ids is needed")
        start = len(self._ids)
        try:
            self._ids.extend(array("q", ids))
        except (TypeError, OverflowError):
            raise ValueError("a block id is not a whole number of 63 bits") from None
        count = len(self._ids) - start
        if count and min(ids) < 0:
            raise ValueError(f"block id {min(ids)} is negative")
        if count > ceil_div(input_tokens, self.block_tokens):
            covered = count * self.block_tokens
            raise ValueError(
                f"{count} blocks of {counted(self.block_tokens, 'token')} are {covered:,} tokens, "
                f"but the input has {input_tokens:,}"
            )
        self._counts.append(count)

    def hashes(self, order: Ints | None) -> BlockHashes | None:
        """Return the table with its requests in `order`, or None if no request has ids."""
        if not self._ids:
            return None
        ids = np.frombuffer(self._ids, dtype=np.int64).copy()
        counts = np.array(self._counts, dtype=np.int64)
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        if order is not None:
            counts = counts[order]
            starts = offsets[:-1][order]
            offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
            within = np.arange(ids.size) - np.repeat(offsets[:-1], counts)
            ids = ids[np.repeat(starts, counts) + within]
        return BlockHashes(offsets, ids, self.block_tokens, self.scope)


class PrefixIds:
    """Numbers blocks of token ids such that equal ids mean equal blocks behind equal prefixes.

    A block's id is that of the pair (id of the block before it, its tokens), numbered from 0
    in order of first appearance. Nothing is hashed away, so there are no collisions. The last
    block of an input may be partial and then never equals a full one.
    """

    def __init__(self, block_tokens: int) -> None:
        self.block_tokens = block_tokens
        self._known: dict[tuple[int, bytes], int] = {}

    def of(self, tokens: Sequence[int]) -> list[int]:
        """Return the block ids of an input; raises ValueError for what is no token id."""
        try:
            data = array("q", tokens).tobytes()
        except (TypeError, OverflowError):
            raise ValueError("a token id is not a whole number") from None
        step = self.block_tokens * 8
        ids = []
        previous = -1
        for start in range(0, len(data), step):
            key = (previous, data[start : start + step])
            previous = self._known.setdefault(key, len(self._known))
            ids.append(previous)
        return ids
