"""Whether the arrays of a pool agree with each other; for tests, after every step."""

from __future__ import annotations

from typing import Any

import numpy as np

from servetwin.cache.kernel.compile import from_python
from servetwin.cache.kernel.links import end_of
from servetwin.cache.kernel.state import FLOP_AWARE, MAIN, S3_FIFO, SMALL, VLLM_LRU, Pool

__all__ = ["check_integrity"]

_end_of = from_python(end_of)


def check_integrity(pool: Pool) -> None:
    """Raise AssertionError where counts, names, lists or the heap contradict each other."""
    for r in range(pool.cache.size):
        _check_counts(pool, r)
        policy = int(pool.cache[r]["policy"])
        if policy == VLLM_LRU:
            _check_free_queue(pool, r)
        elif policy == S3_FIFO:
            _check_queues(pool, r)
        else:
            _check_heap(pool, r)


def _own(pool: Pool, r: int) -> tuple[int, Any]:
    """Number of cache `r`'s first block, and its blocks used so far."""
    first = int(pool.cache[r]["first"])
    return first, pool.block[first : first + int(pool.cache[r]["fresh"])]


def _check_counts(pool: Pool, r: int) -> None:
    cache = pool.cache[r]
    first, blocks = _own(pool, r)
    assert np.all(blocks["refs"] >= 0)
    assert cache["available"] == cache["capacity"] - np.count_nonzero(blocks["refs"])
    known = np.flatnonzero(pool.where[r] >= 0)
    assert cache["named"] == known.size
    assert np.all(pool.block["id"][pool.where[r, known]] == known)
    assert np.all((pool.where[r, known] >= first) & (pool.where[r, known] < first + blocks.size))
    free = set()
    number = int(cache["free"])
    while number >= 0:
        assert number not in free
        free.add(number)
        assert pool.block[number]["refs"] == 0
        number = int(pool.block[number]["next"])
    unnamed = np.count_nonzero((blocks["refs"] > 0) & (blocks["id"] < 0))
    waiting = cache["fresh"] - cache["named"] - unnamed - len(free)
    # What is left are blocks without an id in vLLM's free queue.
    assert waiting == 0 or (waiting > 0 and cache["policy"] == VLLM_LRU)


def _members(pool: Pool, r: int, which: int) -> list[int]:
    """Walk a list, in both directions."""
    end = int(_end_of(pool, r, which))
    found: list[int] = []
    number = int(pool.block[end]["next"])
    while number != end:
        assert pool.block[int(pool.block[number]["next"])]["prev"] == number
        found.append(number)
        assert len(found) <= pool.cache[r]["capacity"]
        number = int(pool.block[number]["next"])
    assert pool.block[end]["prev"] == (found[-1] if found else end)
    return found


def _check_free_queue(pool: Pool, r: int) -> None:
    queue = _members(pool, r, MAIN)
    first, blocks = _own(pool, r)
    assert set(queue) == set((np.flatnonzero(blocks["refs"] == 0) + first).tolist())


def _check_queues(pool: Pool, r: int) -> None:
    cache = pool.cache[r]
    for which, label in ((SMALL, "small"), (MAIN, "main")):
        members = pool.block[_members(pool, r, which)]
        assert cache[f"{label}_count"] == members.size
        assert cache[f"{label}_idle"] == np.count_nonzero(members["refs"] == 0)
        assert np.all(members["list"] == which)
        assert np.all(members["id"] >= 0)


def _check_heap(pool: Pool, r: int) -> None:
    cache = pool.cache[r]
    first, blocks = _own(pool, r)
    heap = pool.heap[r, : int(cache["heap_size"])]
    ranks = [(int(block["key"]), int(block["seq"])) for block in pool.block[heap]]
    assert all(ranks[(place - 1) // 2] <= ranks[place] for place in range(1, len(ranks)))
    assert np.all(pool.block["place"][heap] == np.arange(heap.size))
    idle = (blocks["refs"] == 0) & (blocks["id"] >= 0)
    if cache["policy"] == FLOP_AWARE:
        named = np.flatnonzero(blocks["id"] >= 0)
        parents = blocks["parent"][named]
        children = np.bincount(parents[parents >= 0] - first, minlength=blocks.size)
        assert np.all(children[named] == blocks["children"][named])
        idle &= children == 0
    assert set(heap.tolist()) == set((np.flatnonzero(idle) + first).tolist())
