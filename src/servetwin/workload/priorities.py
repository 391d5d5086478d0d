"""Priorities for requests that have none: classes drawn by their shares."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from servetwin.errors import InputError
from servetwin.types import Workload

__all__ = ["MOST_CLASSES", "PriorityMix", "draw_priorities", "parse_priorities"]

MOST_CLASSES = 64
_EXAMPLE = "write 0:0.2,1:0.8, class and share"
_STREAM = 5
"""Behind those that `generate` draws from."""


@dataclass(frozen=True)
class PriorityMix:
    """Classes and their shares, which need not add up to 1."""

    classes: tuple[int, ...]
    shares: tuple[float, ...]


def parse_priorities(text: str) -> PriorityMix:
    """Read a mix such as `0:0.2,1:0.8`. Raises InputError."""
    found: dict[int, float] = {}
    for part in text.split(","):
        name, colon, share = part.partition(":")
        try:
            number, weight = int(name), float(share)
        except ValueError:
            raise InputError(f"priorities {text!r}: {part.strip()!r} is none; {_EXAMPLE}") from None
        if not colon or not -(2**31) <= number < 2**31 or number in found:
            what = "is named twice" if number in found else "exceeds 32 bits"
            raise InputError(f"priorities {text!r}: {number} {what}; {_EXAMPLE}")
        if not (weight > 0 and math.isfinite(weight)):
            raise InputError(f"priorities {text!r}: the share of {number} must be above 0")
        found[number] = weight
    if len(found) > MOST_CLASSES:
        raise InputError(f"priorities: {len(found)} classes; at most {MOST_CLASSES}")
    return PriorityMix(tuple(found), tuple(found.values()))


def draw_priorities(workload: Workload, mix: PriorityMix, seed: int) -> Workload:
    """Draw a class for each session, or for each request where there are none.

    The draws depend on the seed and on the number of sessions or requests alone. Raises
    InputError where the workload has priorities of its own.
    """
    if workload.priority is not None:
        raise InputError(f"{workload.name} has priorities of its own: leave --priorities away")
    sequence = np.random.SeedSequence(seed, spawn_key=(_STREAM,))
    random = np.random.Generator(np.random.PCG64(sequence))
    owner = np.arange(len(workload))
    if workload.session_id is not None:
        owner = np.unique(workload.session_id, return_inverse=True)[1]
    edges = np.cumsum(mix.shares) / math.fsum(mix.shares)
    drawn = np.searchsorted(edges[:-1], random.random(int(owner.max()) + 1), side="right")
    return replace(workload, priority=np.array(mix.classes, np.int32)[drawn][owner])
