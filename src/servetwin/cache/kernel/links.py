"""Rings of blocks: doubly linked, closed by an end that is no block."""

from __future__ import annotations

from servetwin.cache.kernel.compile import inlined
from servetwin.cache.kernel.state import Int, Pool

__all__ = ["append", "end_of", "unlink"]


@inlined
def end_of(pool: Pool, r: Int, which: Int) -> Int:
    """Return the end of a list of cache `r`: its `next` is the head, its `prev` the tail."""
    cache = pool.cache[r]
    return cache.first + cache.capacity + which


@inlined
def append(pool: Pool, end: Int, number: Int) -> None:
    """Put a block at the tail."""
    blocks = pool.block
    last = blocks[end].prev
    blocks[number].prev = last
    blocks[number].next = end
    blocks[last].next = number
    blocks[end].prev = number


@inlined
def unlink(pool: Pool, number: Int) -> None:
    """Take a block out of the list it is in."""
    blocks = pool.block
    before, after = blocks[number].prev, blocks[number].next
    blocks[before].next = after
    blocks[after].prev = before
