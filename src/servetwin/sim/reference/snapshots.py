"""The state of every replica at regular times."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

import numpy as np

from servetwin.sim.outcome import SnapshotRows

if TYPE_CHECKING:
    from servetwin.sim.reference.replica import Replica

__all__ = ["Snapshots"]


class Snapshots:
    """Row `i` holds the state after every event up to and including `(i + 1) * interval`."""

    def __init__(self, interval: int, replicas: list[Replica]) -> None:
        self.interval = interval
        self.replicas = replicas
        self.last_event = 0
        self.taken: list[list[tuple[int, ...]]] = []
        self.seen = [(0, 0, 0, 0)] * len(replicas)

    def take_before(self, now: int) -> None:
        """Take the snapshots due before the event that is about to happen at `now`."""
        while self.interval and (len(self.taken) + 1) * self.interval < now:
            self._take()
        self.last_event = now

    def finish(self) -> None:
        """Take the last one: the first that is not before the last event."""
        while self.interval and len(self.taken) * self.interval < self.last_event:
            self._take()

    def _take(self) -> None:
        row: list[tuple[int, ...]] = []
        for index, replica in enumerate(self.replicas):
            done = replica.work_done
            work = (now - before for now, before in zip(done, self.seen[index], strict=True))
            self.seen[index] = done
            queues = replica.queues
            waiting = len(queues.waiting) + len(queues.loading) + len(queues.ready)
            row.append((len(queues.running), waiting, replica.pool.used, *work))
        self.taken.append(row)

    def rows(self) -> SnapshotRows | None:
        if not self.interval:
            return None
        columns = len(fields(SnapshotRows))
        table = np.array(self.taken, np.int64).reshape(len(self.taken), len(self.replicas), columns)
        return SnapshotRows(*(table[:, :, column].copy() for column in range(columns)))
