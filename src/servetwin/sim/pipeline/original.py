"""The published simulators' semantics in plain Python: a queue worked off in order of insertion.

The order of operations (max, then add) and plain float64 microseconds make completions equal
to theirs bit for bit. What is odd about them is listed in docs/background/dejavu.md.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from servetwin.sim.pipeline.job import Load, Pipeline, Ring, ready_us

__all__ = ["Item", "Outcome", "Visit", "reference"]

Floats = NDArray[np.float64]


class Visit(NamedTuple):
    """One microbatch on one stage; stages of a Split count on from the prompts' to the ring's."""

    stage: int
    start: float
    request: int
    round: int
    """Tokens generated before, -1 for the prompt."""


class Item(NamedTuple):
    """A microbatch in the queue."""

    request: int
    stage: int
    prompt: bool
    ready: float
    left: int
    """Tokens still to generate."""


@dataclass
class Outcome:
    """Times in µs (float64), one entry a request, and the early stops."""

    begin: Floats
    first_token: Floats
    completion: Floats
    early_stops: int = 0


def reference(
    pipeline: Pipeline, load: Load, visited: Callable[[Visit], object] | None = None
) -> Outcome:
    """Run the original's loop; `visited` is told of each stage's work."""
    if isinstance(pipeline, Ring):
        begin, ready = np.zeros(len(load)), load.arrival_us
    else:
        begin, ready = ready_us(load, pipeline)
    out = Outcome(begin, np.zeros(len(load)), np.zeros(len(load)))
    _Loop(pipeline, load, ready.tolist(), visited).run(out)
    return out


class _Loop:
    def __init__(
        self,
        pipeline: Pipeline,
        load: Load,
        ready: list[float],
        visited: Callable[[Visit], object] | None,
    ) -> None:
        self.ring = isinstance(pipeline, Ring)
        self.first_stage = 0 if isinstance(pipeline, Ring) else pipeline.prompt_stages
        self.prompt_us, self.token_us = pipeline.prompt_us, pipeline.token_us
        self.ready, self.rounds, self.visited = ready, load.rounds.tolist(), visited
        self.free = [0.0] * pipeline.ring
        self.last = pipeline.ring - 1
        self.next = min(pipeline.ring, len(load))

    def run(self, out: Outcome) -> None:
        queue: deque[Item] = deque(map(self.first, range(self.next)))
        while queue:
            item = queue.popleft()
            start = max(item.ready, self.free[item.stage])
            end = start + (self.prompt_us if item.prompt else self.token_us)
            self.free[item.stage] = end
            self.note(item, start, out)
            if item.stage < self.last:
                queue.append(item._replace(stage=item.stage + 1, ready=end))
                continue
            if not item.prompt and item.left == self.rounds[item.request]:
                out.first_token[item.request] = end
            if item.prompt or item.left > 1:
                left = item.left if item.prompt else item.left - 1
                queue.append(Item(item.request, 0, False, end, left))
                continue
            out.completion[item.request] = end
            out.early_stops += any(other.left > 2 for other in queue)
            if self.next < len(self.rounds):
                queue.append(self.successor())

    def first(self, number: int) -> Item:
        """One of the microbatches in flight at the start; a ring's take no heed of arrivals."""
        ready = number * self.prompt_us if self.ring else self.ready[number]
        return Item(number, 0, self.ring, ready, self.rounds[number])

    def successor(self) -> Item:
        number, self.next = self.next, self.next + 1
        ready = self.ready[number]
        if self.ring:
            ready = max(self.free[0], ready)
        return Item(number, 0, self.ring, ready, self.rounds[number])

    def note(self, item: Item, start: float, out: Outcome) -> None:
        if item.prompt and item.stage == 0:
            out.begin[item.request] = start
        if self.visited is not None:
            done = -1 if item.prompt else self.rounds[item.request] - item.left
            self.visited(Visit(self.first_stage + item.stage, start, item.request, done))
