"""S3-FIFO: the small and the main queue, and the numbers by which ghosts are known."""

from __future__ import annotations

from servetwin.cache.kernel.compile import inlined, outlined
from servetwin.cache.kernel.links import append, end_of, unlink
from servetwin.cache.kernel.state import MAIN, NONE, SMALL, Int, Pool, Record

__all__ = ["MOST_USES", "choose", "enter", "leave_idle"]

MOST_USES = 3


@inlined
def enter(pool: Pool, cache: Record, r: Int, number: Int) -> None:
    """A block has been released: queue it if it is new, and count it as idle."""
    block = pool.block[number]
    if block.list == NONE:
        evicted = pool.ghost[r, block.id]
        pool.ghost[r, block.id] = 0
        ghost_room = cache.capacity - cache.small_room
        if evicted > 0 and cache.ghosts - evicted < ghost_room:
            block.list = MAIN
            cache.main_count += 1
        else:
            block.list = SMALL
            cache.small_count += 1
        append(pool, end_of(pool, r, block.list), number)
    if block.list == MAIN:
        cache.main_idle += 1
    else:
        cache.small_idle += 1


@inlined
def leave_idle(pool: Pool, cache: Record, number: Int) -> None:
    """An idle block is used again; it stays where it is."""
    if pool.block[number].list == MAIN:
        cache.main_idle -= 1
    elif pool.block[number].list == SMALL:
        cache.small_idle -= 1


@outlined
def choose(pool: Pool, cache: Record, r: Int) -> Int:
    """Take out the block that goes; some block must be idle."""
    main = end_of(pool, r, MAIN)
    while True:
        if cache.small_idle > 0 and (cache.small_count >= cache.small_room or cache.main_idle == 0):
            number = pool.block[end_of(pool, r, SMALL)].next
            unlink(pool, number)
            cache.small_count -= 1
            block = pool.block[number]
            if block.refs == 0:
                cache.small_idle -= 1
                if block.uses <= 1:
                    cache.ghosts += 1
                    pool.ghost[r, block.id] = cache.ghosts
                    return number
                cache.main_idle += 1
            block.uses = 0
            block.list = MAIN
            cache.main_count += 1
        else:
            number = pool.block[main].next
            unlink(pool, number)
            block = pool.block[number]
            if block.refs == 0:
                if block.uses == 0:
                    cache.main_count -= 1
                    cache.main_idle -= 1
                    return number
                block.uses -= 1
        append(pool, main, number)
