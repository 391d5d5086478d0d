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
from servetwin.cache.kernel import compile as compiling
from servetwin.cache.kernel.compile import cache_folder, entry_of, outlined
from servetwin.errors import InputError
from servetwin.sim.pipeline import rounds_kernel
from servetwin.sim.pipeline.causal import Outcome, arrivals_ps, last_transfer_us
from servetwin.sim.pipeline.job import Failures, Load, Pipeline, Split, each_ps, ps_from_us
from servetwin.sim.pipeline.rounds_kernel import (
    Queue,
    Requests,
    Round,
    end_round,
    insert,
    others_wait,
    sort,
)
from servetwin.units import CLOCK_END_PS

__all__ = ["run"]

Ints = NDArray[np.int64]

SOURCES = (
    Path(__file__),
    *(Path(str(module.__file__)) for module in (rounds_kernel, units, compiling)),
)
"""Every file whose code or constants become machine code."""

_entry = entry_of(cache_folder(SOURCES))

TOO_LATE = -1
"""Returned where the clock ends before the run."""


class Times(NamedTuple):
    """Of each request: when it began, generated its first token, and was complete; ps."""

    begin: Ints
    first_token: Ints
    completion: Ints


class Stages(NamedTuple):
    """When each stage of the ring is free, and what each prompt and a token take there; ps."""

    free: Ints
    prompt: Ints
    token: int


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


class Breaks(NamedTuple):
    """Failures of machines, in picoseconds; empty `at` for none."""

    at: Ints
    stall: int
    redone: int
    """Rounds that a microbatch behind its prompt loses, -1 for the prompt and all of them."""
    lost: Ints
    """Prompts and rounds that are done again, and passes that were interrupted."""


def run(pipeline: Pipeline, load: Load, failures: Failures | None = None) -> Outcome:
    """Do what `causal.reference` does. Raises InputError where the clock ends before the run."""
    ring, n = pipeline.ring, len(load)

    def zeros(size: int) -> Ints:
        return np.zeros(size, np.int64)

    times = Times(zeros(n) - 1, zeros(n) - 1, zeros(n))
    failures = failures or Failures((), 0.0)
    breaks = Breaks(failures.times_ps(), ps_from_us(failures.stall_us), failures.redone, zeros(3))
    prompts = _prompts(pipeline, load)
    stops = _loop(
        times,
        Requests(load.rounds, arrivals_ps(load), int(prompts.free.size == 0)),
        Stages(zeros(ring), prompts.time, ps_from_us(pipeline.token_us)),
        Queue(zeros(ring), zeros(ring), zeros(ring), zeros(3)),
        prompts,
        breaks,
        Round(zeros(ring), zeros(ring), zeros(ring), zeros(2)),
    )
    if stops == TOO_LATE:
        raise InputError("the run lasts longer than the 106 days of the clock: ask for less")
    return Outcome(*times, prompts.transfer, breaks.lost, early_stops=stops)


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
    breaks: Breaks,
    mark: Round,
) -> Any:
    """Repeat `sim.pipeline.causal`; return the early stops, or TOO_LATE.

    Rounds that only repeat the one before, later by a constant, are skipped: the state at the
    end of a round determines the next, and one in which every time is later by the same leads
    to the same, as much later.
    """
    rounds, free = load.rounds, stages.free
    following = stops = failed = 0
    limit = breaks.at[0] if breaks.at.size > 0 else CLOCK_END_PS
    while following < min(free.size, rounds.size):
        _admit((following, 0), load, times, queue, prompts)
        following += 1
    mark.at[0] = mark.at[1] = 0
    while queue.at[1] > 0:
        if mark.at[0] == 0:
            end_round(queue, load, (free, limit), mark)
        head = queue.at[0]
        now, who, left = queue.ready[head], queue.who[head], queue.left[head]
        start, end = max(now, free[0]), now
        cost = stages.prompt[who] if left > rounds[who] else stages.token
        for s in range(free.size):
            end = max(end, free[s]) + cost
            free[s] = end
        if end > limit:
            if failed == breaks.at.size:
                return TOO_LATE
            failed = _fail((failed, start), load, times, (queue, stages), breaks)
            limit = breaks.at[failed] if failed < breaks.at.size else CLOCK_END_PS
            mark.at[0] = mark.at[1] = 0
            continue
        queue.at[0] = head + 1 if head + 1 < queue.ready.size else 0
        queue.at[1] -= 1
        mark.at[0] -= 1
        if left == rounds[who] + load.prompts:
            queue.at[2] -= 1
            mark.at[0] = mark.at[1] = 0
        if left > rounds[who] and times.begin[who] < 0:
            times.begin[who] = start
        if left == rounds[who] and times.first_token[who] < 0:
            times.first_token[who] = end
        if left > 1:
            insert(queue, end, who, left - 1)
            continue
        times.completion[who] = end
        if others_wait(queue, rounds, end):
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
    insert(queue, max(there, place), who, load.rounds[who] + load.prompts)


@outlined
def _fail(
    failure: tuple[int, int],
    load: Requests,
    times: Times,
    ring: tuple[Queue, Stages],
    breaks: Breaks,
) -> int:
    """Let the ring stand still; return the number of the failure that comes next.

    `failure` is the number of this one, and when the first pass that it interrupts began.
    """
    number, start = failure
    (queue, stages), at = ring, breaks.at[number]
    back = at + breaks.stall
    for i in range(queue.at[1]):
        slot = (queue.at[0] + i) % queue.ready.size
        who, left = queue.who[slot], queue.left[slot]
        start = max(start, queue.ready[slot])
        if start < at:
            breaks.lost[2] += 1
            if times.begin[who] < 0:
                times.begin[who] = start
        start += stages.prompt[who] if left > load.rounds[who] else stages.token
        if left <= load.rounds[who]:
            again = load.rounds[who]
            if breaks.redone >= 0:
                again = min(again, left + breaks.redone)
            breaks.lost[1] += again - left
            if breaks.redone < 0:
                breaks.lost[0] += 1
                queue.at[2] += 1
                again += 1
            queue.left[slot] = again
        queue.ready[slot] = max(queue.ready[slot], back)
    sort(queue)
    for s in range(stages.free.size):
        stages.free[s] = back
    while number < breaks.at.size and breaks.at[number] <= back:
        number += 1
    return number
