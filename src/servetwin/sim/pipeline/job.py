"""What is asked of a pipeline: its stages, and the microbatches that go through it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from servetwin.errors import InputError
from servetwin.units import PS_PER_S, PS_PER_US

__all__ = [
    "SEMANTICS",
    "Failures",
    "Load",
    "Pipeline",
    "Ring",
    "Split",
    "each_ps",
    "ps_from_us",
    "ready_us",
]

SEMANTICS = ("causal", "original")

MOST_STAGES = 4096
LONGEST_PASS_S = 6 * 3600.0
"""All stages together, for one microbatch: so that a pass cannot leave the clock's range."""

MOST_LAG = 1_000_000

LATEST_US = 90 * 86_400 * 1e6

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Ring:
    """`stages` machines in a ring that serve prompts and tokens; times in µs a stage."""

    stages: int
    prompt_us: float
    token_us: float

    def __post_init__(self) -> None:
        _check_stages("num_machines", self.stages)
        _check_time("prompt_time", self.prompt_us, self.stages)
        _check_time("token_time", self.token_us, self.stages)

    @property
    def machines(self) -> int:
        """Machines of the whole pipeline."""
        return self.stages

    @property
    def ring(self) -> int:
        """Stages that serve tokens, and microbatches that may be among them."""
        return self.stages


@dataclass(frozen=True)
class Split:
    """A row of stages for prompts, and a ring of stages for tokens; times in µs a stage."""

    prompt_stages: int
    token_stages: int
    prompt_us: float
    token_us: float
    cache_us: float = 0.0
    """Moves the KV cache of a prompt on from one stage."""
    shared_link: bool = False
    """All of `cache_us` comes after the last stage, one transfer at a time."""
    waiting: int = 0
    """Prompts that may have begun and be without a place in the ring; 0 for any number."""

    def __post_init__(self) -> None:
        _check_stages("num_prompt_machines", self.prompt_stages)
        _check_stages("num_token_machines", self.token_stages)
        _check_time("prompt_time", self.prompt_us, self.prompt_stages)
        _check_time("token_time", self.token_us, self.token_stages)
        _check_time("cache_time", self.cache_us, self.prompt_stages)
        if self.waiting < 0:
            raise InputError(f"--prompt_slots {self.waiting}: must be at least 0")

    @property
    def machines(self) -> int:
        """Machines of the whole pipeline."""
        return self.prompt_stages + self.token_stages

    @property
    def ring(self) -> int:
        """Stages that serve tokens, and microbatches that may be among them."""
        return self.token_stages


Pipeline = Ring | Split


@dataclass(frozen=True)
class Load:
    """Microbatches in the order in which they are admitted.

    `rounds` are tokens to generate (int64, at least 1), all else float64 µs.
    """

    rounds: Ints
    arrival_us: Floats
    prompt_us: Floats | None = None
    """A stage's time for each prompt, instead of the pipeline's for all."""
    cache_us: Floats | None = None
    """Time on the shared link for each KV cache, instead of the pipeline's for all."""

    def __post_init__(self) -> None:
        if self.rounds.size == 0:
            raise InputError("the trace is empty: at least one request is needed")
        if self.rounds.shape != self.arrival_us.shape:
            raise InputError(
                f"{self.arrival_us.size:,} arrivals for {self.rounds.size:,} requests: as many "
                "are needed as there are requests"
            )
        if self.rounds.min() < 1:
            raise ValueError("a microbatch generates at least one token")
        good = np.isfinite(self.arrival_us) & (self.arrival_us >= 0)
        good &= self.arrival_us <= LATEST_US
        if not good.all():
            row = int(np.flatnonzero(~good)[0])
            raise InputError(
                f"arrival {row + 1}, {self.arrival_us[row]:g} µs: must lie between 0 and 90 days"
            )
        for times in (self.prompt_us, self.cache_us):
            if times is not None and not (times.shape == self.rounds.shape and _possible(times)):
                raise ValueError("one time of at most 6 hours is needed for each microbatch")

    @property
    def uniform(self) -> bool:
        """Whether all prompts take the pipeline's times."""
        return self.prompt_us is None and self.cache_us is None

    def __len__(self) -> int:
        return int(self.rounds.size)


@dataclass(frozen=True)
class Failures:
    """When a machine of a Ring fails (µs), so that the ring stands still for `stall_us`.

    What is being computed is lost. With replicated KV caches, microbatches go on `lag` rounds
    before the interrupted one; otherwise they begin anew. A failure while the ring stands
    still changes nothing.
    """

    at_us: tuple[float, ...]
    stall_us: float
    replicated: bool = True
    lag: int = 1

    def __post_init__(self) -> None:
        for flag, value in (*(("fail_at", at) for at in self.at_us), ("stall", self.stall_us)):
            if not 0 <= value <= LATEST_US:
                raise InputError(f"--{flag}: {value / 1e6:g} s must lie between 0 and 90 days")
        if not 0 <= self.lag <= MOST_LAG:
            raise InputError(f"--lag {self.lag}: must lie between 0 and {MOST_LAG:,} rounds")

    @property
    def redone(self) -> int:
        """Rounds that a microbatch behind its prompt loses, -1 for the prompt and all of them."""
        return self.lag if self.replicated else -1

    def times_ps(self) -> Ints:
        """Picoseconds, ascending."""
        return np.array(sorted(ps_from_us(at) for at in self.at_us), np.int64)


def ps_from_us(microseconds: float) -> int:
    """Nearest whole picosecond."""
    return round(microseconds * PS_PER_US)


def each_ps(times: Floats | None, otherwise: float, count: int) -> Ints:
    """One time a microbatch in whole picoseconds: `times`, or `otherwise` for all; µs."""
    if times is None:
        return np.full(count, ps_from_us(otherwise))
    return np.rint(times * PS_PER_US).astype(np.int64)


def ready_us(load: Load, split: Split) -> tuple[Floats, Floats]:
    """When prompts begin and when their KV caches have arrived, in the original's arithmetic.

    µs, float64, one entry a request. The order of operations decides the last bit.
    """
    begin = np.empty(len(load))
    free = 0.0
    for number, arrival in enumerate(load.arrival_us.tolist()):
        begin[number] = max(arrival, free)
        free = begin[number] + split.prompt_us
    return begin, begin + split.prompt_stages * (split.prompt_us + split.cache_us)


def _possible(times: Floats) -> bool:
    return bool(np.all(times >= 0) and np.all(times <= LONGEST_PASS_S * PS_PER_S / PS_PER_US))


def _check_stages(flag: str, stages: int) -> None:
    if not 1 <= stages <= MOST_STAGES:
        raise InputError(f"--{flag} {stages}: must lie between 1 and {MOST_STAGES:,}")


def _check_time(flag: str, microseconds: float, stages: int) -> None:
    given = f"--{flag} {microseconds / 1000:g}"
    if not math.isfinite(microseconds) or microseconds < 0:
        raise InputError(f"{given}: must be a time in ms, 0 or more")
    if microseconds * stages > LONGEST_PASS_S * PS_PER_S / PS_PER_US:
        raise InputError(f"{given}: all stages together must take at most 6 hours")
