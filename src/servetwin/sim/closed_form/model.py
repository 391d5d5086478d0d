"""What every closed form offers: the time of one request that runs alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["CacheSize", "ClosedForm", "Device", "Phases", "Requests"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Device:
    """What OpenDC's files say of the GPU that the requests run on."""

    name: str
    memory: float
    """Bytes."""
    memory_mib: int
    """As OpenDC's `mem_capacity` has it; Kavier takes the gigabytes of a data sheet as GiB."""
    capacity: float
    """What `gpu_usage` counts: cores times MHz where they are known, dense GFLOP/s elsewhere."""


@dataclass(frozen=True)
class CacheSize:
    """Bytes of KV cache that one sequence takes on one device, by its length."""

    token: float
    """Each token, in layers that keep all of them."""
    near_token: float = 0.0
    """Each token within the window, in layers that have one."""
    window: int = 0
    """Tokens."""
    sequence: float = 0.0
    """However long the sequence is."""

    def of(self, tokens: Floats) -> Floats:
        """Bytes of sequences of so many tokens; one of no tokens takes nothing."""
        near = self.near_token * np.minimum(tokens, self.window)
        return np.asarray(self.token * tokens + near + np.where(tokens > 0, self.sequence, 0.0))


@dataclass(frozen=True)
class Requests:
    """Requests and their times, or some of them; every column has one entry a request."""

    input_tokens: Ints
    output_tokens: Ints
    prefill: Ints
    """Picoseconds; 0 where a cache hit skips it."""
    decode: Ints
    cached_tokens: Ints | None = None
    """Input tokens that a hit provided; None for none."""

    def part(self, rows: slice) -> Requests:
        """Return the requests of `rows`, without copying."""
        cached = self.cached_tokens
        return Requests(
            self.input_tokens[rows],
            self.output_tokens[rows],
            self.prefill[rows],
            self.decode[rows],
            None if cached is None else cached[rows],
        )


@dataclass(frozen=True)
class Phases:
    """GPU utilisation (0 to 1) over each request's time, in three pieces.

    `head` before `begin`, from `first` to `last` in a straight line up to `end`, `tail`
    after it. Columns have one entry a request; `begin <= end`, picoseconds since its start.
    """

    begin: Ints
    end: Ints
    head: Floats
    first: Floats
    last: Floats
    tail: Floats


class ClosedForm(Protocol):
    """Times of requests that run alone, by formula. Times are int64 picoseconds.

    Arguments are int64 columns as `checks.token_column` returns them. Methods raise
    InputError where a request outlasts the clock.
    """

    name: str
    device: Device
    cache: CacheSize
    max_tokens: int
    """Longest input plus output that the model and its memory allow; 0 if nobody checks."""
    config: dict[str, Any]
    """Settings by the names of the command line."""
    source: str
    notes: tuple[str, ...]

    def prefill(self, input_tokens: Ints) -> Ints:
        """Time until the input is processed."""

    def prefill_after_hit(self, input_tokens: Ints, shared_tokens: int) -> Ints:
        """The same where the first `shared_tokens` of the input are cached."""

    def decode(self, input_tokens: Ints, output_tokens: Ints, kv_cache: bool = True) -> Ints:
        """Time of the output, with the KV cache or by computing everything anew each token."""

    def phases(self, requests: Requests, kv_cache: bool = True) -> Phases:
        """GPU utilisation over time."""
