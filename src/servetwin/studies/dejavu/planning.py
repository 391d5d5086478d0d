"""DéjàVu's planner: for each number of machines the fastest layout of three kinds.

Microbatches of every measured size are tried, memory decides which fit, and the makespan of
the whole trace decides which is best. Equal cells of both semantics differ as those do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from servetwin.errors import InputError
from servetwin.sim.pipeline import Load, Pipeline, Ring, Split, grouped_arrivals, run_pipeline
from servetwin.studies.dejavu.model_info import ModelTimes, PlannedModel, planned_model

__all__ = ["KINDS", "MACHINES", "Cell", "Machine", "PlanRow", "cost_of", "plan"]

MACHINES = (1, 2, 4, 6, 8, 10, 12, 14, 16)
KINDS = ("Baseline", "Baseline-DP", "DéjàVu")
REQUESTS = 256
"""Entries of the trace that the planner takes."""
PROMPT_SEQUENCE, TOKEN_SEQUENCE = 1000, 2000
"""Tokens a sequence may have where only prompts are served, and elsewhere."""

Ints = NDArray[np.int64]
Part = tuple[Ints, NDArray[np.float64] | None]


@dataclass(frozen=True)
class Machine:
    """What is rented: decimal GB of memory, and dollars an hour."""

    memory_gb: float
    cost_per_hour: float = 0.0

    def __post_init__(self) -> None:
        for flag, value in (
            ("mem_per_machine", self.memory_gb),
            ("machine_cost", self.cost_per_hour),
        ):
            if not 0 <= value < math.inf:
                raise InputError(f"--{flag} {value:g}: must be a number of 0 or more")


@dataclass(frozen=True)
class Cell:
    """The best layout of one kind: `stages` for everything, or for prompts and for tokens."""

    makespan_s: float
    batch_size: int
    stages: tuple[int, ...]
    replicas: int = 1

    @property
    def layout(self) -> str:
        """Such as `2 x 4, b 8` or `1 + 3, b 8`."""
        stages = " + ".join(map(str, self.stages))
        times = f"{self.replicas} x " if self.replicas > 1 else ""
        return f"{times}{stages}, b {self.batch_size}"


@dataclass(frozen=True)
class PlanRow:
    """The best of each kind for one number of machines; None where nothing fits."""

    machines: int
    cells: tuple[Cell | None, Cell | None, Cell | None]


def cost_of(cell: Cell | None, machines: int, per_hour: float) -> float:
    """Dollars for the makespan; 0 where nothing fits."""
    return 0.0 if cell is None else cell.makespan_s / 3600 * machines * per_hour


def plan(
    times: ModelTimes,
    rounds: Ints,
    machine: Machine,
    rps: float = 0.0,
    semantics: str = "original",
    machines: Sequence[int] = MACHINES,
) -> list[PlanRow]:
    """Find the best cell of each kind for each number of machines. Raises InputError."""
    planner = _Planner(times, rounds, machine, rps, semantics)
    rows = []
    for count in machines:
        found = (planner.ring(count), planner.replicas(count), planner.split(count))
        cells = [min(kind, key=lambda cell: cell.makespan_s, default=None) for kind in found]
        rows.append(PlanRow(count, (cells[0], cells[1], cells[2])))
    return rows


@dataclass(frozen=True)
class _Planner:
    times: ModelTimes
    rounds: Ints
    machine: Machine
    rps: float
    semantics: str

    @property
    def model(self) -> PlannedModel:
        return planned_model(self.times.model)[1]

    def ring(self, machines: int) -> Iterator[Cell]:
        """All machines in one ring."""
        for batch in self.times.batch_sizes:
            if self.fits(machines, batch, TOKEN_SEQUENCE):
                makespan = self.makespan(self.ring_of(machines, batch), self.repeated(batch))
                yield Cell(makespan, batch, (machines,))

    def replicas(self, machines: int) -> Iterator[Cell]:
        """Several rings of equal size, each with a part of the requests."""
        for replicas in (dp for dp in range(2, machines + 1) if machines % dp == 0):
            stages = machines // replicas
            for batch in self.times.batch_sizes:
                if not self.fits(stages, batch, TOKEN_SEQUENCE):
                    continue
                ring = self.ring_of(stages, batch)
                slowest = max(
                    self.makespan(ring, *part)
                    for part in self.parts(self.repeated(batch), replicas)
                )
                yield Cell(slowest, batch, (stages,), replicas)

    def split(self, machines: int) -> Iterator[Cell]:
        """Every division into stages for prompts and stages for tokens."""
        for prompts in range(1, machines):
            tokens = machines - prompts
            for batch in self.times.batch_sizes:
                room = self.fits(prompts, batch, PROMPT_SEQUENCE)
                if not room or not self.fits(tokens, batch, TOKEN_SEQUENCE):
                    continue
                prompt_us = self.times.prompt_ms[batch] / prompts * 1000
                token_us = self.times.token_ms[batch] / tokens * 1000
                pipeline = Split(prompts, tokens, prompt_us, token_us)
                makespan = self.makespan(pipeline, self.repeated(batch))
                yield Cell(makespan, batch, (prompts, tokens))

    def fits(self, stages: int, batch: int, sequence: int) -> bool:
        """Whether a stage's weights, and the KV caches of a microbatch, fit into a machine."""
        weights = math.ceil(self.model.size_gb / stages)
        kv_caches = self.model.kv_gb_per_token * batch * sequence
        return weights + kv_caches < self.machine.memory_gb

    def ring_of(self, stages: int, batch: int) -> Ring:
        prompt, token = self.times.prompt_ms[batch], self.times.token_ms[batch]
        return Ring(stages, prompt / stages * 1000, token / stages * 1000)

    def repeated(self, batch: int) -> Ints:
        """As many microbatches as it takes to have as many requests as with the largest batch."""
        return np.repeat(self.rounds, self.times.batch_sizes[-1] // batch)

    def parts(self, rounds: Ints, replicas: int) -> Iterator[Part]:
        """Each replica's microbatches, and their arrivals where they must be given.

        Pieces of the trace; the original drops what is left over and draws arrivals for each
        piece, whereas causal arrivals are drawn for all, and dealt out in turn.
        """
        if self.semantics == "original":
            size = rounds.size // replicas
            pieces = [rounds[at * size : (at + 1) * size] for at in range(replicas)]
            yield from ((piece, None) for piece in pieces if piece.size)
            return
        if self.rps == 0:
            yield from ((piece, None) for piece in np.array_split(rounds, replicas) if piece.size)
            return
        arrivals = grouped_arrivals(rounds.size, self.rps)
        for at in range(min(replicas, rounds.size)):
            yield rounds[at::replicas], arrivals[at::replicas]

    def makespan(
        self, pipeline: Pipeline, rounds: Ints, arrivals: NDArray[np.float64] | None = None
    ) -> float:
        """Seconds until the last microbatch is complete."""
        if arrivals is None:
            group = pipeline.machines if self.semantics == "original" else 1
            arrivals = grouped_arrivals(rounds.size, self.rps, group)
        return run_pipeline(pipeline, Load(rounds, arrivals), self.semantics).makespan_us / 1e6
