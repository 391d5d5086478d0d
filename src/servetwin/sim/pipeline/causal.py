"""The causal semantics in plain Python: events in order of time, whole picoseconds.

At one instant, first all that ends, then all that arrives, then idle stages begin. A stage
takes the microbatch with the smallest (time it became ready, number). A microbatch that has
no place in the ring yet takes the places in the order in which they become free.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from servetwin.sim.pipeline.job import (
    Failures,
    Load,
    Pipeline,
    Ring,
    Split,
    each_ps,
    ps_from_us,
)
from servetwin.sim.pipeline.original import Visit
from servetwin.units import NOT_YET

__all__ = ["Outcome", "Transfer", "arrivals_ps", "last_transfer_us", "reference"]

Ints = NDArray[np.int64]
END, READY, FAIL = 0, 1, 2

Transfer = tuple[int, int, int]
"""Request, start and end of the move of its KV cache to the ring, in picoseconds."""


@dataclass
class Outcome:
    """Times in picoseconds (int64), one entry a request, and the early stops."""

    begin: Ints
    first_token: Ints
    completion: Ints
    transfer: Ints
    """How long the KV cache took to the ring, waiting for the link included."""
    lost: Ints
    """By failures: prompts and rounds that are done again, and passes that were interrupted."""
    early_stops: int = 0


def arrivals_ps(load: Load) -> Ints:
    """Arrivals in whole picoseconds, each the nearest."""
    return np.rint(load.arrival_us * 1e6).astype(np.int64)


def reference(
    pipeline: Pipeline,
    load: Load,
    visited: Callable[[Visit], object] | None = None,
    moved: Callable[[Transfer], object] | None = None,
    failures: Failures | None = None,
) -> Outcome:
    """Simulate event by event; the callbacks are told of each stage's work and each transfer.

    Work that a failure interrupts is told of as if it were completed.
    """
    zero, never = np.zeros(len(load), np.int64), np.full(len(load), NOT_YET)
    out = Outcome(never.copy(), never, zero.copy(), zero, np.zeros(3, np.int64))
    _Simulation(pipeline, load, out, (visited, moved)).run(failures)
    return out


@dataclass
class _Stage:
    """Who waits, as (time it became ready, number), and whether one is being served."""

    waiting: list[tuple[int, int]]
    busy: bool = False


class _Simulation:
    def __init__(
        self,
        pipeline: Pipeline,
        load: Load,
        out: Outcome,
        told: tuple[Callable[[Visit], object] | None, Callable[[Transfer], object] | None],
    ) -> None:
        self.split = pipeline if isinstance(pipeline, Split) else None
        self.prompt = each_ps(load.prompt_us, pipeline.prompt_us, len(load)).tolist()
        self.cache = each_ps(load.cache_us, last_transfer_us(pipeline), len(load)).tolist()
        self.token = ps_from_us(pipeline.token_us)
        self.out, (self.visited, self.moved) = out, told
        self.rounds, self.arrival = load.rounds.tolist(), arrivals_ps(load).tolist()
        self.left = [rounds + isinstance(pipeline, Ring) for rounds in self.rounds]
        self.stages = [_Stage([]) for _ in range(pipeline.machines)]
        self.entrance = 0 if self.split is None else self.split.prompt_stages
        self.places: list[int] = [0] * pipeline.ring
        """When each free place in the ring became free, in that order."""
        self.entering = 0
        """Next to be given a place in the ring."""
        self.in_flight: set[int] = set()
        self.delivered: dict[int, int] = {}
        """When the KV caches of those without a place in the ring have arrived."""
        self.entered: list[int] = []
        """When each microbatch that has a place takes it."""
        self.link_free = 0
        self.offered = 0
        """Prompts that were let to the first stage; they go there one after the other."""
        self.begun = [False] * len(load)
        self.down_until = -1
        self.events: list[tuple[int, int, int, int]] = []
        """(time, kind, stage, request)"""

    def run(self, failures: Failures | None) -> None:
        for at in failures.times_ps().tolist() if failures else []:
            heapq.heappush(self.events, (at, FAIL, 0, 0))
        if self.split is None:
            self.give_places()
        else:
            self.offer_prompt(0)
        while self.events:
            now = self.events[0][0]
            while self.events and self.events[0][0] == now:
                _, kind, stage, request = heapq.heappop(self.events)
                if kind == END:
                    self.end(now, stage, request)
                elif kind == FAIL:
                    assert failures is not None
                    self.fail(now, failures)
                else:
                    heapq.heappush(self.stages[stage].waiting, (now, request))
                    self.note_entry(stage, request)
            for number, stage_ in enumerate(self.stages):
                self.start(now, number, stage_)

    def start(self, now: int, number: int, stage: _Stage) -> None:
        if stage.busy or not stage.waiting:
            return
        _, request = heapq.heappop(stage.waiting)
        stage.busy = True
        prompt = number < self.entrance or self.left[request] > self.rounds[request]
        if prompt and number == 0 and self.out.begin[request] == NOT_YET:
            self.out.begin[request] = now
            self.begun[request] = True
        if self.visited is not None:
            done = -1 if prompt else self.rounds[request] - self.left[request]
            self.visited(Visit(number, now, request, done))
        duration = self.prompt[request] if prompt else self.token
        heapq.heappush(self.events, (now + duration, END, number, request))
        if number == 0 and self.split is not None:
            self.offer_prompt(now)

    def end(self, now: int, number: int, request: int) -> None:
        self.stages[number].busy = False
        if number == self.entrance - 1:
            self.deliver(now, request)
        elif number < self.entrance:
            self.ready(now + self.hop(), number + 1, request)
        elif number < len(self.stages) - 1:
            self.ready(now, number + 1, request)
        else:
            self.finish_round(now, request)

    def finish_round(self, now: int, request: int) -> None:
        if self.left[request] == self.rounds[request] and self.out.first_token[request] == NOT_YET:
            self.out.first_token[request] = now
        self.left[request] -= 1
        if self.left[request]:
            self.ready(now, self.entrance, request)
            return
        self.out.completion[request] = now
        self.in_flight.remove(request)
        # A round with the prompt counts for none here, as in the original.
        rest = (min(self.left[other], self.rounds[other]) for other in self.in_flight)
        self.out.early_stops += any(left > 2 for left in rest)
        self.places.append(now)
        self.give_places()

    def fail(self, now: int, failures: Failures) -> None:
        """Stop all stages, and let everything that is there begin again after the stall."""
        if now <= self.down_until:
            return
        back = self.down_until = now + ps_from_us(failures.stall_us)
        passing = [event for event in self.events if event[1] == END]
        for number, stage in enumerate(self.stages):
            self.out.lost[2] += stage.busy + (len(stage.waiting) if number else 0)
            stage.busy, stage.waiting = False, []
        coming = [event for event in self.events if event[1] == READY]
        away = {request for _, _, _, request in coming}
        assert all(request in self.in_flight for *_, request in passing)
        self.events = [event for event in self.events if event[1] == FAIL]
        heapq.heapify(self.events)
        for request in self.in_flight - away:
            self.set_back(request, failures)
            self.ready(back, 0, request)
        for time, _, stage_number, request in coming:
            self.ready(max(time, back), stage_number, request)

    def set_back(self, request: int, failures: Failures) -> None:
        """Count what is lost of a microbatch whose prompt is complete."""
        left, rounds = self.left[request], self.rounds[request]
        if left > rounds:
            return
        again = min(rounds, left + failures.redone) if failures.replicated else rounds
        self.out.lost[1] += again - left
        self.left[request] = again
        if not failures.replicated:
            self.out.lost[0] += 1
            self.left[request] += 1

    def give_places(self) -> None:
        """Give each free place to the next in line: it enters when it is there, too."""
        while self.places and self.entering < len(self.rounds):
            request = self.entering
            if self.split is not None and request not in self.delivered:
                return  # its place waits until the prompt is done
            there = self.arrival[request] if self.split is None else self.delivered.pop(request)
            enter = max(there, self.places.pop(0))
            self.entering += 1
            self.entered.append(enter)
            self.ready(enter, self.entrance, request)
            if self.split is not None:
                self.offer_prompt(enter)

    def offer_prompt(self, now: int) -> None:
        """Let the next prompt come to the first stage, unless too many are ahead of the ring."""
        assert self.split is not None
        number, limit = self.offered, self.split.waiting
        begun = not number or self.begun[number - 1]
        if number == len(self.rounds) or not begun or (limit and number - self.entering >= limit):
            return
        room = self.entered[number - limit] if limit and number >= limit else 0
        self.offered += 1
        self.ready(max(now, room, self.arrival[number]), 0, number)

    def deliver(self, now: int, request: int) -> None:
        """Move a finished prompt's KV cache to the ring."""
        assert self.split is not None
        start, cache = now, self.cache[request]
        if self.split.shared_link:
            start = max(now, self.link_free)
            self.link_free = start + cache
        self.out.transfer[request] = start + cache - now
        self.delivered[request] = start + cache
        if self.moved is not None:
            self.moved((request, start, start + cache))
        self.give_places()

    def hop(self) -> int:
        assert self.split is not None
        return 0 if self.split.shared_link else ps_from_us(self.split.cache_us)

    def ready(self, time: int, stage: int, request: int) -> None:
        heapq.heappush(self.events, (time, READY, stage, request))

    def note_entry(self, stage: int, request: int) -> None:
        if stage == self.entrance:
            self.in_flight.add(request)


def last_transfer_us(pipeline: Pipeline) -> float:
    """Duration of the last transfer of a KV cache, or of the only one, over a shared link."""
    if isinstance(pipeline, Ring):
        return 0.0
    return pipeline.cache_us * (pipeline.prompt_stages if pipeline.shared_link else 1)
