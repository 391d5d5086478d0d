"""The causal semantics, compiled. Importing this module imports numba.

A microbatch goes through the ring once for its prompt (not in a Split) and once for each
token: a pass. The loop takes passes in the order in which they enter the first stage, since
none overtakes another behind it, and works out all stages of one pass at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from servetwin import units
from servetwin.cache.kernel.compile import cache_folder, entry_of, inlined, outlined
from servetwin.errors import InputError
from servetwin.sim.pipeline.causal import Outcome, arrivals_ps, last_transfer_us
from servetwin.sim.pipeline.job import Load, Pipeline, Split, each_ps, ps_from_us
from servetwin.units import CLOCK_END_PS

__all__ = ["run"]

Ints = NDArray[np.int64]

_entry = entry_of(cache_folder((Path(__file__), Path(str(units.__file__)))))

TOO_LATE = -1
"""Returned where the clock ends before the run."""


class Times(NamedTuple):
    """Of each request: when it began, generated its first token, and was complete; ps."""

    begin: Ints
    first_token: Ints
    completion: Ints


class Requests(NamedTuple):
    """Tokens to generate, arrivals, and the passes of a request beside those for tokens."""

    rounds: Ints
    arrival: Ints
    prompts: int


class Stages(NamedTuple):
    """When each stage of the ring is free, and what each prompt and a token take there; ps."""

    free: Ints
    prompt: Ints
    token: int


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


class Prompts(NamedTuple):
    """The stages for prompts of a Split, in picoseconds; empty `free` for a Ring."""

    free: Ints
    """When each stage is done with what it has seen."""
    enter: Ints
    """When each request took its place in the ring."""
    transfer: Ints
    link_free: Ints
    time: Ints
    """Of each prompt on each stage."""
    hop: int
    """From one stage to the next."""
    link: Ints
    """Of the transfer of each KV cache to the ring."""
    shared: bool
    waiting: int


class Round(NamedTuple):
    """State at the end of a round, to be compared with that at the end of the next."""

    ready: Ints
    who: Ints
    free: Ints
    at: Ints
    """Passes until the round is complete, and microbatches in it (0: no state is held)."""


def run(pipeline: Pipeline, load: Load) -> Outcome:
    """Do what `causal.reference` does. Raises InputError where the clock ends before the run."""
    ring, n = pipeline.ring, len(load)

    def zeros(size: int) -> Ints:
        return np.zeros(size, np.int64)

    times = Times(zeros(n), zeros(n), zeros(n))
    prompts = _prompts(pipeline, load)
    stops = _loop(
        times,
        Requests(load.rounds, arrivals_ps(load), int(prompts.free.size == 0)),
        Stages(zeros(ring), prompts.time, ps_from_us(pipeline.token_us)),
        Queue(zeros(ring), zeros(ring), zeros(ring), zeros(3)),
        prompts,
        Round(zeros(ring), zeros(ring), zeros(ring), zeros(2)),
    )
    if stops == TOO_LATE:
        raise InputError("the run lasts longer than the 106 days of the clock: ask for less")
    return Outcome(*times, transfer=prompts.transfer, early_stops=stops)


def _prompts(pipeline: Pipeline, load: Load) -> Prompts:
    split, n = pipeline if isinstance(pipeline, Split) else None, len(load)
    shared = split is not None and split.shared_link
    return Prompts(
        free=np.zeros(split.prompt_stages if split else 0, np.int64),
        enter=np.zeros(n if split else 0, np.int64),
        transfer=np.zeros(n, np.int64),
        link_free=np.zeros(1, np.int64),
        time=each_ps(load.prompt_us, pipeline.prompt_us, n),
        hop=ps_from_us(split.cache_us) if split and not shared else 0,
        link=each_ps(load.cache_us, last_transfer_us(pipeline), n),
        shared=shared,
        waiting=split.waiting if split else 0,
    )


@_entry
def _loop(
    times: Times,
    load: Requests,
    stages: Stages,
    queue: Queue,
    prompts: Prompts,
    mark: Round,
) -> Any:
    """Repeat `sim.pipeline.causal`; return the early stops, or TOO_LATE.

    Rounds that only repeat the one before, later by a constant, are skipped: the state at the
    end of a round determines the next, and one in which every time is later by the same leads
    to the same, as much later.
    """
    rounds, free = load.rounds, stages.free
    following = stops = 0
    while following < min(free.size, rounds.size):
        _admit((following, 0), load, times, queue, prompts)
        following += 1
    mark.at[0] = mark.at[1] = 0
    while queue.at[1] > 0:
        if mark.at[0] == 0:
            _end_round(queue, load, free, mark)
        head = queue.at[0]
        now, who, left = queue.ready[head], queue.who[head], queue.left[head]
        queue.at[0] = head + 1 if head + 1 < queue.ready.size else 0
        queue.at[1] -= 1
        mark.at[0] -= 1
        if left == rounds[who] + load.prompts:
            queue.at[2] -= 1
            mark.at[0] = mark.at[1] = 0
        cost = stages.token
        if left > rounds[who]:
            cost = stages.prompt[who]
            times.begin[who] = max(now, free[0])
        end = now
        for s in range(free.size):
            end = max(end, free[s]) + cost
            free[s] = end
        if end > CLOCK_END_PS:
            return TOO_LATE
        if left == rounds[who]:
            times.first_token[who] = end
        if left > 1:
            _insert(queue, end, who, left - 1)
            continue
        times.completion[who] = end
        if _others_wait(queue, rounds, end):
            stops += 1
        mark.at[0] = mark.at[1] = 0
        if following < rounds.size:
            _admit((following, end), load, times, queue, prompts)
            following += 1
    return stops


@outlined
def _admit(
    entry: tuple[int, int], load: Requests, times: Times, queue: Queue, prompts: Prompts
) -> None:
    """Put a request into the queue, whose place in the ring became free at a time: `entry`.

    In a Split its prompt is worked out here, since all that it waits for is known by now.
    """
    who, place = entry
    there = load.arrival[who]
    if prompts.free.size > 0:
        if prompts.waiting > 0 and who >= prompts.waiting:
            there = max(there, prompts.enter[who - prompts.waiting])
        times.begin[who] = max(there, prompts.free[0])
        there -= prompts.hop
        for s in range(prompts.free.size):
            there = max(there + prompts.hop, prompts.free[s]) + prompts.time[who]
            prompts.free[s] = there
        done = there
        if prompts.shared:
            there = max(there, prompts.link_free[0])
        there += prompts.link[who]
        prompts.link_free[0] = there
        prompts.transfer[who] = there - done
        prompts.enter[who] = max(there, place)
    queue.at[2] += 1
    _insert(queue, max(there, place), who, load.rounds[who] + load.prompts)


@inlined
def _insert(queue: Queue, time: int, who: int, left: int) -> None:
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
def _others_wait(queue: Queue, rounds: Ints, now: int) -> bool:
    """Whether another microbatch in flight has more than two tokens to generate."""
    for i in range(queue.at[1]):
        slot = (queue.at[0] + i) % queue.ready.size
        if queue.ready[slot] < now and min(queue.left[slot], rounds[queue.who[slot]]) > 2:
            return True
    return False


@outlined
def _end_round(queue: Queue, load: Requests, free: Ints, mark: Round) -> None:
    """Skip what repeats the round that ends here, and note the state for the next round.

    A round is one pass of each microbatch that has begun; those that have not must come last.
    """
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
            _skip(queue, free, active, later)
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
def _skip(queue: Queue, free: Ints, active: int, later: int) -> None:
    """Repeat the round as often as nobody completes and nobody new comes in between."""
    size = queue.ready.size
    last = queue.ready[(queue.at[0] + active - 1) % size]
    until = CLOCK_END_PS
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
