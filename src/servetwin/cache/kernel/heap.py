"""Blocks that may go, as a binary heap by rank; each block knows its place."""

from __future__ import annotations

from servetwin.cache.kernel.compile import inlined, outlined
from servetwin.cache.kernel.state import Int, Pool

__all__ = ["pop", "push", "remove"]


@inlined
def _precedes(pool: Pool, one: Int, other: Int) -> bool:
    a, b = pool.block[one], pool.block[other]
    before: bool = a.key < b.key or (a.key == b.key and a.seq < b.seq)
    return before


@outlined
def push(pool: Pool, r: Int, number: Int) -> None:
    """Add a block whose rank is set."""
    cache = pool.cache[r]
    cache.heap_size += 1
    _rise(pool, r, number, cache.heap_size - 1)


@outlined
def pop(pool: Pool, r: Int) -> Int:
    """Take out the block of the lowest rank; there must be one."""
    number = pool.heap[r, 0]
    remove(pool, r, number)
    return number


@outlined
def remove(pool: Pool, r: Int, number: Int) -> None:
    """Take out a block, wherever it stands."""
    cache = pool.cache[r]
    place = pool.block[number].place
    pool.block[number].place = -1
    cache.heap_size -= 1
    if place == cache.heap_size:
        return
    last = pool.heap[r, cache.heap_size]
    if place > 0 and _precedes(pool, last, pool.heap[r, (place - 1) >> 1]):
        _rise(pool, r, last, place)
    else:
        _sink(pool, r, last, place)


@inlined
def _put(pool: Pool, r: Int, number: Int, place: Int) -> None:
    pool.heap[r, place] = number
    pool.block[number].place = place


@inlined
def _rise(pool: Pool, r: Int, number: Int, place: Int) -> None:
    while place > 0:
        above = (place - 1) >> 1
        parent = pool.heap[r, above]
        if not _precedes(pool, number, parent):
            break
        _put(pool, r, parent, place)
        place = above
    _put(pool, r, number, place)


@inlined
def _sink(pool: Pool, r: Int, number: Int, place: Int) -> None:
    size = pool.cache[r].heap_size
    while True:
        below = 2 * place + 1
        if below >= size:
            break
        if below + 1 < size and _precedes(pool, pool.heap[r, below + 1], pool.heap[r, below]):
            below += 1
        child = pool.heap[r, below]
        if not _precedes(pool, child, number):
            break
        _put(pool, r, child, place)
        place = below
    _put(pool, r, number, place)
