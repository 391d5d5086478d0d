"""Iterations of several microbatches in the stages of one engine."""

from __future__ import annotations

from servetwin.sim.reference.state import Batch
from servetwin.sim.stages import Stages, up_to_edge

__all__ = ["Ring"]


class Ring:
    """The stages of one engine: each serves one iteration at a time, first come, first served."""

    def __init__(self, stages: Stages) -> None:
        self.stages = stages
        self.free = [0] * stages.count
        self.busy = [0] * stages.count
        """Picoseconds in which each stage has worked, or will have."""

    def fail(self, lost: Batch) -> None:
        """Stop the stages; `lost` was under way, and does not count as work."""
        self.free = [0] * self.stages.count
        for stage in range(self.stages.count if lost.work else 0):
            self.busy[stage] -= self._share(lost, stage)

    def pass_through(self, batch: Batch, now: int) -> int:
        """Send `batch`, planned `now`, through all stages; return when it leaves the last.

        While a stage computes one microbatch it fetches the KV of the next, so copies count
        only where they take longer than the computation. It takes 1 ps at least.
        """
        ready = now
        for stage in range(self.stages.count):
            own = self._share(batch, stage)
            ready = max(ready, self.free[stage]) + own
            self.free[stage] = ready
            self.busy[stage] += own
        batch.waited = max(ready, now + 1) - (now + max(1, self.alone(batch)))
        return max(ready, now + 1)

    def alone(self, batch: Batch) -> int:
        """How long `batch` takes through stages that are free."""
        return sum(self._share(batch, stage) for stage in range(self.stages.count))

    def _share(self, batch: Batch, stage: int) -> int:
        """Picoseconds of `batch` in a stage."""
        edges = self.stages.edges
        copies = self.stages.swap * (batch.contexts + batch.sequences + batch.prefill_tokens)
        end = up_to_edge(batch.duration, edges[stage + 1])
        return max(copies, end - up_to_edge(batch.duration, edges[stage]))
