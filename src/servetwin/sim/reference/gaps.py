"""Count the gaps between tokens."""

from __future__ import annotations

from servetwin.results.gaps import bin_of
from servetwin.sim.outcome import empty_gaps

__all__ = ["TokenGapCounter"]


class TokenGapCounter:
    """A histogram, or nothing where nobody wants one."""

    def __init__(self, wanted: bool) -> None:
        self.wanted = wanted
        self.counts = empty_gaps(wanted)

    def add(self, gap: int) -> None:
        if self.wanted:
            self.counts[bin_of(gap)] += 1
