"""Microbatches that wait for the ring, and rounds of them that repeat; compiled."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from servetwin.cache.kernel.compile import inlined, outlined

__all__ = ["Queue", "Requests", "Round", "end_round", "insert", "others_wait", "sort"]

Ints = NDArray[np.int64]


class Requests(NamedTuple):
    """Tokens to generate, arrivals, and the passes of a request beside those for tokens."""

    rounds: Ints
    arrival: Ints
    prompts: int


class Queue(NamedTuple):
    """Microbatches before the ring's first stage, by (time they are ready, number), as a circle.

    `at[0]` is the first's position, `at[1]` their count, `at[2]` how many of them have not
    begun their first pass.
    """

    ready: Ints
    who: Ints
    left: Ints
    """Passes still to come."""
    at: Ints


class Round(NamedTuple):
    """State at the end of a round, to be compared with that at the end of the next."""

    ready: Ints
    who: Ints
    free: Ints
    at: Ints
    """Passes until the round is complete, and microbatches in it (0: no state is held)."""


@inlined
def insert(queue: Queue, time: int, who: int, left: int) -> None:
    """Keep the order by (time, number); most come last."""
    size = queue.ready.size
    slot = queue.at[0] + queue.at[1]
    if slot >= size:
        slot -= size
    for _ in range(queue.at[1]):
        before = slot - 1 if slot > 0 else size - 1
        if queue.ready[before] < time or (queue.ready[before] == time and queue.who[before] < who):
            break
        queue.ready[slot] = queue.ready[before]
        queue.who[slot] = queue.who[before]
        queue.left[slot] = queue.left[before]
        slot = before
    queue.ready[slot] = time
    queue.who[slot] = who
    queue.left[slot] = left
    queue.at[1] += 1


@outlined
def others_wait(queue: Queue, rounds: Ints, now: int) -> bool:
    """Whether another microbatch in flight has more than two tokens to generate."""
    for i in range(queue.at[1]):
        slot = (queue.at[0] + i) % queue.ready.size
        if queue.ready[slot] < now and min(queue.left[slot], rounds[queue.who[slot]]) > 2:
            return True
    return False


@outlined
def end_round(queue: Queue, load: Requests, stages: tuple[Ints, int], mark: Round) -> None:
    """Skip what repeats the round that ends here, and note the state for the next round.

    A round is one pass of each microbatch that has begun; those that have not must come last.
    `stages` are when each is free, and a time that no pass which is skipped may reach.
    """
    free, limit = stages
    active = queue.at[1] - queue.at[2]
    for i in range(active):
        slot = (queue.at[0] + i) % queue.ready.size
        if queue.left[slot] == load.rounds[queue.who[slot]] + load.prompts:
            active = 0
            break
    if active == 0:
        mark.at[0], mark.at[1] = 1, 0
        return
    if mark.at[1] == active:
        later = _later_by(queue, free, mark)
        if later > 0:
            _skip(queue, (free, limit), active, later)
    for i in range(active):
        slot = (queue.at[0] + i) % queue.ready.size
        mark.ready[i] = queue.ready[slot]
        mark.who[i] = queue.who[slot]
    for s in range(free.size):
        mark.free[s] = free[s]
    mark.at[0] = mark.at[1] = active


@inlined
def _later_by(queue: Queue, free: Ints, mark: Round) -> Any:
    """By how much every time of the state is later than in the last round; 0 if not by one."""
    later = free[0] - mark.free[0]
    for s in range(1, free.size):
        if free[s] - mark.free[s] != later:
            return 0
    for i in range(mark.at[1]):
        slot = (queue.at[0] + i) % queue.ready.size
        if queue.who[slot] != mark.who[i] or queue.ready[slot] - mark.ready[i] != later:
            return 0
    return later


@inlined
def _skip(queue: Queue, stages: tuple[Ints, int], active: int, later: int) -> None:
    """Repeat the round as often as nobody completes and nobody new comes in between."""
    free, until = stages
    size = queue.ready.size
    last = queue.ready[(queue.at[0] + active - 1) % size]
    if queue.at[2] > 0:
        until = min(until, queue.ready[(queue.at[0] + active) % size])
    times = (until - 1 - last) // later
    for i in range(active):
        times = min(times, queue.left[(queue.at[0] + i) % size] - 1)
    if times <= 0:
        return
    for i in range(active):
        slot = (queue.at[0] + i) % size
        queue.ready[slot] += times * later
        queue.left[slot] -= times
    for s in range(free.size):
        free[s] += times * later


@outlined
def sort(queue: Queue) -> None:
    """Bring the queue into order after its times have changed."""
    count, size = queue.at[1], queue.ready.size
    queue.at[1] = 0
    for i in range(count):
        slot = (queue.at[0] + i) % size
        insert(queue, queue.ready[slot], queue.who[slot], queue.left[slot])
