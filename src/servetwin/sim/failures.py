"""Engines that fail, in the integers of a run (section 11 of `docs/background/semantics.md`)."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LOSSES", "Failures", "Outage"]

LOSSES = ("interrupted", "prompts", "prompt_tokens", "output_tokens", "rerouted")
"""What `Outcome.losses` counts: iterations in flight; then of requests that begin anew, those
that had tokens, their prompt tokens computed, their tokens generated; requests sent elsewhere."""

Outage = tuple[int, int, int]
"""When an engine failed, which one, and when it was back."""


@dataclass(frozen=True)
class Failures:
    """Which engines fail when, and what passes until they are back. Times in picoseconds."""

    times: tuple[int, ...]
    """Ascending."""
    engines: tuple[int, ...]
    """Of each time. One that is down at that time does not fail again."""
    detect: int
    restart: int
    replicated: bool = False
    """KV blocks have copies elsewhere, so that requests go on where they were."""
    neighbour: bool = False
    """The copies lie on the engine of the next number, and are lost with it."""
    restore_block: int = 0
    """To fetch one block in use from its copy."""
    lag: int = 0
    """Iterations by which the copies are behind, which are computed again."""
    reroute: bool = True
    """Waiting requests go to other engines when a failure is detected."""

    def __post_init__(self) -> None:
        if len(self.times) != len(self.engines) or list(self.times) != sorted(self.times):
            raise ValueError("failures need ascending times, and an engine each")
        if min((self.detect, self.restart, self.restore_block, self.lag, *self.times)) < 0:
            raise ValueError("no time of a failure may be negative")

    def holder(self, engine: int, engines: int) -> int:
        """Which of so many engines has the copies of another."""
        return (engine + 1) % engines

    def outage(self, blocks: int, longest: int) -> int:
        """From a failure until the engine is back, 1 ps at least.

        `blocks` that were in use have copies, and so has what the longest iteration in flight
        began with, which takes `longest`.
        """
        restore = blocks * self.restore_block + self.lag * longest if self.replicated else 0
        return max(1, self.detect + self.restart + restore)
