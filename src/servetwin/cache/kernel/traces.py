"""Whole traces through one cache: the entries that Python calls.

Each fills `hits` by request (int32) and returns the number of blocks evicted.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from servetwin.cache.kernel.compile import entry, inlined
from servetwin.cache.kernel.pool import acquire, allocate, lookup, name, release
from servetwin.cache.kernel.state import Int, Ints, Pool, Shorts

__all__ = ["next_uses", "replay_belady", "replay_pool", "trace_lru"]


@entry
def trace_lru(ids: Shorts, offsets: Ints, links: Shorts, capacity: Int, hits: Shorts) -> Int:
    """`reference.trace_lru`. `links` is (distinct + 1, 2) and all -1.

    Row `i` holds what was used before and after block `i`; the last row closes the ring.
    """
    end = links.shape[0] - 1
    links[end, 0] = links[end, 1] = end
    size = evictions = 0
    for i in range(offsets.size - 1):
        first, last = offsets[i], offsets[i + 1]
        place = first
        while place < last and links[ids[place], 0] >= 0:
            place += 1
        hits[i] = place - first
        # The tail is written once, after the last block.
        tail = links[end, 0]
        for j in range(first, last):
            id = ids[j]
            before, after = links[id, 0], links[id, 1]
            if before < 0:
                size += 1
            elif id == tail:
                continue
            else:
                links[before, 1] = after
                links[after, 0] = before
            links[tail, 1] = id
            links[id, 0] = tail
            tail = id
            links[tail, 1] = end
        links[end, 0] = tail
        while size > capacity:
            oldest = links[end, 1]
            second = links[oldest, 1]
            links[end, 1] = second
            links[second, 0] = end
            links[oldest, 0] = -1
            size -= 1
            evictions += 1
    return evictions


@entry
def replay_pool(pool: Pool, ids: Shorts, offsets: Ints, held: Ints, hits: Shorts) -> Int:
    """`reference.replay_pool` through cache 0. `held` has room for the longest request."""
    capacity = pool.cache[0].capacity
    for i in range(offsets.size - 1):
        first, last = offsets[i], offsets[i + 1]
        place = first
        while place < last and lookup(pool, 0, ids[place]) >= 0:
            place += 1
        hits[i] = place - first
        count = min(last - first, capacity)
        for j in range(count):
            number = np.int64(lookup(pool, 0, ids[first + j]))
            held[j] = number
            if number >= 0:
                acquire(pool, 0, number)
        for j in range(count):
            if held[j] >= 0:
                continue
            number = np.int64(lookup(pool, 0, ids[first + j]))
            if number >= 0:
                acquire(pool, 0, number)
            else:
                number = allocate(pool, 0)
                parent = held[j - 1] if j > 0 else -1
                name(pool, 0, number, ids[first + j], j, parent)
            held[j] = number
        for j in range(count - 1, -1, -1):
            release(pool, 0, held[j])
    return pool.cache[0].evictions


@entry
def next_uses(ids: Shorts, offsets: Ints, upcoming: Ints, following: Ints) -> None:
    """For each reference, find the place of its block's next one in a *later* request.

    -1 where there is none, -2 for a block that the same request has named before.
    `upcoming` has an entry -1 for each block.
    """
    for i in range(offsets.size - 2, -1, -1):
        first, last = offsets[i], offsets[i + 1]
        for j in range(last - 1, first - 1, -1):
            later = upcoming[ids[j]]
            if first <= later < last:
                following[j] = following[later]
                following[later] = -2
            else:
                following[j] = later
            upcoming[ids[j]] = j


@entry
def replay_belady(
    ids: Shorts,
    offsets: Ints,
    following: Ints,
    cached: NDArray[np.int8],
    heap: Ints,
    capacity: Int,
    hits: Shorts,
) -> Int:
    """`reference.belady`. `cached` has an entry 0 for each block, `heap` one for each reference.

    The heap holds the places of next uses, the farthest on top. One that has passed is
    smaller than all to come, so it never gets there and need not be removed.
    """
    waiting = size = idle = evictions = 0
    for i in range(offsets.size - 1):
        first, last = offsets[i], offsets[i + 1]
        place = first
        while place < last and cached[ids[place]]:
            place += 1
        hits[i] = place - first
        for j in range(first, last):
            use = following[j]
            if use == -2:
                continue
            if not cached[ids[j]]:
                cached[ids[j]] = 1
                size += 1
            if use < 0:
                idle += 1
            else:
                _push(heap, waiting, use)
                waiting += 1
        while size > capacity:
            if idle > 0:  # nobody asks for those again, so which one goes is all the same
                idle -= 1
            else:
                cached[ids[heap[0]]] = 0
                waiting -= 1
                _drop_top(heap, waiting)
            size -= 1
            evictions += 1
    return evictions


@inlined
def _push(heap: Ints, size: Int, value: Int) -> None:
    place = size
    while place > 0 and heap[(place - 1) >> 1] < value:
        heap[place] = heap[(place - 1) >> 1]
        place = (place - 1) >> 1
    heap[place] = value


@inlined
def _drop_top(heap: Ints, size: Int) -> None:
    """Remove the top of a heap that has `size` other entries."""
    value = heap[size]
    place = 0
    while True:
        below = 2 * place + 1
        if below >= size:
            break
        if below + 1 < size and heap[below + 1] > heap[below]:
            below += 1
        if heap[below] <= value:
            break
        heap[place] = heap[below]
        place = below
    heap[place] = value
