"""GeneratorSpec -> Workload: the same seed gives the same requests."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from servetwin.errors import InputError
from servetwin.types.workload import MAX_TOKENS, Workload
from servetwin.units import NOT_YET
from servetwin.workload.arrivals import (
    CHUNK,
    Arrivals,
    ClosedLoop,
    Replay,
    Schedule,
    Think,
    schedule,
    think_times,
)
from servetwin.workload.lengths import Lengths

__all__ = ["MAX_REQUESTS", "GeneratorSpec", "Sessions", "generate"]

MAX_REQUESTS = 200_000_000
"""Most requests one generator makes: 3.2 GB of columns."""

Tokens = NDArray[np.int32]

_INPUT, _OUTPUT, _ARRIVALS, _TURNS, _THINK = range(5)


@dataclass(frozen=True)
class Sessions:
    """Conversations: `turns` requests each, every one repeating all that was said before.

    The input of a turn is its own new tokens plus the inputs and outputs of the turns before
    it. Each session's first turn follows the arrival process, so its rate counts sessions.
    """

    turns: Lengths
    """Distribution of turns per session (its unit is turns, not tokens)."""
    think: Think
    """Pause between an answer and the next turn."""
    max_input: int = MAX_TOKENS
    """Longest input in tokens: a turn that would exceed it loses its oldest history."""

    def __post_init__(self) -> None:
        if not 1 <= self.max_input <= MAX_TOKENS:
            raise InputError(f"max_input {self.max_input}: must lie between 1 and {MAX_TOKENS}")


@dataclass(frozen=True)
class GeneratorSpec:
    """What to generate. Two specs that are equal generate equal workloads."""

    requests: int
    input: Lengths
    output: Lengths
    arrivals: Arrivals
    seed: int = 0
    name: str = "generated"
    rank_correlation: float = 0.0
    """Spearman correlation of input with output length, laid over them by a Gaussian copula."""
    sessions: Sessions | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.requests <= MAX_REQUESTS:
            raise InputError(f"requests {self.requests}: must lie between 1 and {MAX_REQUESTS}")
        if not -1.0 <= self.rank_correlation <= 1.0:
            raise InputError(f"rank correlation {self.rank_correlation}: must lie in -1..1")
        if self.seed < 0:
            raise InputError(f"seed {self.seed}: must not be negative")
        closed = isinstance(self.arrivals, ClosedLoop) or (
            isinstance(self.arrivals, Replay) and self.arrivals.workload.closed_loop
        )
        if self.sessions is not None and closed:
            raise InputError("sessions wait for their answers already: give open-loop arrivals")


def generate(spec: GeneratorSpec) -> Workload:
    """Draw the requests of `spec`.

    Inputs, outputs and arrivals come from independent streams: changing how one of them is
    distributed leaves the others as they were. Raises InputError where arrivals or lengths
    leave the range of a Workload.
    """
    inputs, outputs = _draw_lengths(spec)
    arrivals_stream = _stream(spec, _ARRIVALS)
    session_id = None
    if spec.sessions is None:
        columns = schedule(spec.arrivals, spec.requests, arrivals_stream)
    else:
        session_id, first = _draw_sessions(spec, spec.sessions)
        roots = schedule(spec.arrivals, first.size, arrivals_stream)
        columns = _follow_up(spec, spec.sessions, first, roots)
        inputs = _grow(inputs, outputs, first[session_id], spec.sessions.max_input)
    return Workload(
        arrival=columns.arrival,
        input_tokens=inputs,
        output_tokens=outputs,
        name=spec.name,
        session_id=session_id,
        parent=columns.parent,
        think_time=columns.think_time,
    )


def _stream(spec: GeneratorSpec, key: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(spec.seed, spawn_key=(key,))))


def _draw_lengths(spec: GeneratorSpec) -> tuple[Tokens, Tokens]:
    inputs = np.empty(spec.requests, dtype=np.int32)
    outputs = np.empty(spec.requests, dtype=np.int32)
    input_stream, output_stream = _stream(spec, _INPUT), _stream(spec, _OUTPUT)
    for start in range(0, spec.requests, CHUNK):
        part = slice(start, min(start + CHUNK, spec.requests))
        n = part.stop - part.start
        u, v = input_stream.random(n), output_stream.random(n)
        if spec.rank_correlation != 0.0:
            v = _correlated(u, v, spec.rank_correlation)
        inputs[part] = spec.input.at(u)
        outputs[part] = spec.output.at(v)
    return inputs, outputs


def _correlated(
    u: NDArray[np.float64], v: NDArray[np.float64], rank_correlation: float
) -> NDArray[np.float64]:
    """Turn independent uniforms into `v` with the given Spearman correlation to `u`.

    For a bivariate normal, Spearman's rho is 6/pi * asin(r / 2) (Pearson, 1907).
    """
    from scipy.special import ndtr, ndtri

    r = 2.0 * math.sin(math.pi * rank_correlation / 6.0)
    tiny = 2.0**-54
    z = r * ndtri(np.maximum(u, tiny))
    z += math.sqrt(max(0.0, 1.0 - r * r)) * ndtri(np.maximum(v, tiny))
    return np.asarray(np.minimum(ndtr(z), 1.0 - 2.0**-53))


def _draw_sessions(spec: GeneratorSpec, sessions: Sessions) -> tuple[Tokens, NDArray[np.int64]]:
    """Cut the requests into sessions: session of each request, first request of each session."""
    stream = _stream(spec, _TURNS)
    firsts: list[NDArray[np.int64]] = []
    begin = 0
    while begin < spec.requests:
        # A session has at least one turn, so this many are always enough.
        turns = sessions.turns.at(stream.random(min(CHUNK, spec.requests - begin)))
        ends = begin + np.cumsum(turns, dtype=np.int64)
        starts = ends - turns
        firsts.append(starts[starts < spec.requests])
        begin = int(ends[-1])
    first = np.concatenate(firsts)
    counts = np.diff(np.append(first, spec.requests))
    return np.repeat(np.arange(first.size, dtype=np.int32), counts), first


def _follow_up(
    spec: GeneratorSpec, sessions: Sessions, first: NDArray[np.int64], roots: Schedule
) -> Schedule:
    arrival = np.full(spec.requests, NOT_YET, dtype=np.int64)
    arrival[first] = roots.arrival
    parent = np.arange(-1, spec.requests - 1, dtype=np.int32)
    parent[first] = -1
    pauses = think_times(sessions.think, spec.requests, _stream(spec, _THINK))
    pauses[first] = 0
    return Schedule(arrival, parent, pauses)


def _grow(
    inputs: Tokens, outputs: Tokens, first: NDArray[np.int64], max_input: int
) -> NDArray[np.int32]:
    """Add to each input what was said before in its session; `first` starts its session."""
    said = np.cumsum(inputs, dtype=np.int64)
    said[1:] += np.cumsum(outputs[:-1], dtype=np.int64)
    # Everything before a session's first new input belongs to earlier sessions.
    said -= (said - inputs)[first]
    return np.minimum(said, max_input).astype(np.int32)
