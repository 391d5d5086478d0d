"""Which engines fail, and how they come back."""

from __future__ import annotations

from dataclasses import dataclass

from servetwin.types.hardware import Link
from servetwin.units import PS_PER_S

__all__ = ["LONGEST_PAUSE", "FailureModel"]

LONGEST_PAUSE = 10 * 86_400 * PS_PER_S
"""Most that `detect`, `restart`, or restoring a full cache may take."""


@dataclass(frozen=True)
class FailureModel:
    """Failures of the engines of a deployment. Times in picoseconds."""

    at: tuple[tuple[int, int], ...] = ()
    """Each when, and the number of the engine."""
    mtbf: int | None = None
    """Mean time between the failures of one engine, which are drawn; None: none are."""
    detect: int = 3 * PS_PER_S
    restart: int | None = None
    """Until the engine runs again; None: as long as its weights take to load, and a start."""
    copies: Link | None = None
    """Over which each device gets a copy of the KV it has lost; None: there are none."""
    on_neighbour: bool = False
    """The copies lie on the next engine of the pool, in a ring, instead of in host memory."""
    lag: int = 1
    """Iterations by which the copies are behind."""
    reroute: bool = True
    """Send requests that wait for an engine which has failed to others."""

    def __post_init__(self) -> None:
        if any(time < 0 or engine < 0 for time, engine in self.at):
            raise ValueError("failures have times and numbers of engines from 0 on")
        if self.mtbf is not None and self.mtbf < 1:
            raise ValueError("mtbf must be at least 1 ps")
        if min(self.detect, self.restart or 0, self.lag) < 0:
            raise ValueError("detect, restart and lag must not be negative")
        if max(self.detect, self.restart or 0) > LONGEST_PAUSE:
            raise ValueError("detect and restart must be at most 10 days")
