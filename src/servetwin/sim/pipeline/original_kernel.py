"""The original's semantics, compiled. Importing this module imports numba."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from servetwin.cache.kernel.compile import cache_folder, entry_of, outlined
from servetwin.sim.pipeline.job import Load, Pipeline, Split, ready_us
from servetwin.sim.pipeline.original import Outcome

__all__ = ["run"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_entry = entry_of(cache_folder((Path(__file__),)))


class Times(NamedTuple):
    """Of each request: when it began, generated its first token, and was complete; µs."""

    begin: Floats
    first_token: Floats
    completion: Floats


class Work(NamedTuple):
    """When each stage is free, and the microbatches in the queue, in its order."""

    free: Floats
    ready: Floats
    place: Ints
    """Number (row 0) and passes still to come (row 1)."""


def run(pipeline: Pipeline, load: Load) -> Outcome:
    """Do what `original.reference` does."""
    ring, n = pipeline.ring, len(load)
    begin, ready, prompt = np.zeros(n), load.arrival_us, pipeline.prompt_us
    if isinstance(pipeline, Split):
        begin, ready = ready_us(load, pipeline)
        prompt = -1.0
    times = Times(begin, np.zeros(n), np.zeros(n))
    work = Work(np.zeros(ring), np.zeros(ring), np.zeros((2, ring), np.int64))
    stops = _loop(times, load.rounds, ready, np.array([prompt, pipeline.token_us]), work)
    return Outcome(*times, early_stops=stops)


@_entry
def _loop(times: Times, rounds: Ints, ready: Floats, costs: Floats, work: Work) -> Any:
    """Repeat `sim.pipeline.original` bit for bit; return the early stops.

    `ready` are arrivals, or for a Split when KV caches arrive. `costs` are the prompt's time
    (negative for a Split: no prompts) and the token's. All microbatches in the queue are always
    before the same stage, so that a round can be worked out one microbatch after the other.
    """
    free, place_ready, place = work.free, work.ready, work.place
    stages, total = free.size, rounds.size
    prompt, token = costs[0], costs[1]
    active = min(stages, total)
    following = active
    stops = 0
    for i in range(active):
        place[0, i] = i
        # A prompt that has yet to come counts as a round more than there are tokens.
        place[1, i] = rounds[i] + (1 if prompt >= 0 else 0)
        place_ready[i] = i * prompt if prompt >= 0 else ready[i]
    while active > 0:
        for i in range(active):
            who, left = place[0, i], place[1, i]
            cost = prompt if left > rounds[who] else token
            end = place_ready[i]
            if left > rounds[who]:
                times.begin[who] = max(end, free[0])
            for s in range(stages):
                end = max(end, free[s]) + cost
                free[s] = end
            place_ready[i] = end
            if left == rounds[who]:
                times.first_token[who] = end
        kept = 0
        for i in range(active):
            who, left, end = place[0, i], place[1, i] - 1, place_ready[i]
            if left == 0:
                times.completion[who] = end
                if _others_left(place, rounds, (kept, i + 1, active)):
                    stops += 1
                if following == total:
                    continue
                who = following
                following += 1
                left = rounds[who] + (1 if prompt >= 0 else 0)
                end = max(free[0], ready[who]) if prompt >= 0 else ready[who]
            place[0, kept] = who
            place[1, kept] = left
            place_ready[kept] = end
            kept += 1
        active = kept
    return stops


@outlined
def _others_left(place: Ints, rounds: Ints, parts: tuple[int, int, int]) -> bool:
    """Whether others in the queue have more than two tokens to generate.

    Of `parts`, places before the first have been served in this round, those from the second
    to the third will be.
    """
    kept, following, active = parts
    found = False
    for i in range(active):
        if i < kept or i >= following:
            found |= min(place[1, i], rounds[place[0, i]]) > 2
    return found
