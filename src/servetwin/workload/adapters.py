"""LoRA adapters for requests that name none: drawn by popularity."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from servetwin.errors import InputError
from servetwin.types import Workload

__all__ = ["MOST_ADAPTERS", "AdapterMix", "draw_adapters", "parse_adapters"]

MOST_ADAPTERS = 100_000
_EXAMPLE = "write 16, or 16:zipf=1.1"
_STREAM = 6
"""Behind those that `generate` and the priorities draw from."""


@dataclass(frozen=True)
class AdapterMix:
    """Adapters 0 to `count` - 1; the share of each is 1 over its place to the power `zipf`."""

    count: int
    zipf: float = 0.0


def parse_adapters(text: str) -> AdapterMix:
    """Read `16`, all alike, or `16:zipf=1.1`. Raises InputError."""
    number, colon, rest = text.strip().partition(":")
    name, _, exponent = rest.partition("=")
    try:
        count, zipf = int(number), float(exponent) if colon else 0.0
    except ValueError:
        raise InputError(f"adapters {text!r} are not understood: {_EXAMPLE}") from None
    if colon and name.strip() != "zipf":
        raise InputError(f"adapters {text!r}: unknown setting {name.strip()!r}; {_EXAMPLE}")
    if not 1 <= count <= MOST_ADAPTERS or not 0 <= zipf <= 10:
        raise InputError(
            f"adapters {text!r}: 1 to {MOST_ADAPTERS:,} adapters and a zipf of 0 to 10 are possible"
        )
    return AdapterMix(count, zipf)


def draw_adapters(workload: Workload, mix: AdapterMix, seed: int) -> Workload:
    """Draw an adapter for each session, or for each request where there are none.

    Raises InputError where the workload names adapters itself.
    """
    if workload.adapter is not None:
        raise InputError(f"{workload.name} has adapters of its own: leave --adapters away")
    sequence = np.random.SeedSequence(seed, spawn_key=(_STREAM,))
    random = np.random.Generator(np.random.PCG64(sequence))
    owner = np.arange(len(workload))
    if workload.session_id is not None:
        owner = np.unique(workload.session_id, return_inverse=True)[1]
    edges = np.cumsum(np.arange(1.0, mix.count + 1) ** -mix.zipf)
    drawn = np.searchsorted(
        edges[:-1] / edges[-1], random.random(int(owner.max()) + 1), side="right"
    )
    return replace(workload, adapter=drawn[owner].astype(np.int32))
