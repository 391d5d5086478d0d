"""Room for snapshots while a run goes on, and the table they make in the end."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from servetwin.sim.inputs import TooManyRowsError
from servetwin.sim.kernel.records import SNAPSHOT
from servetwin.sim.kernel.state import FOREVER, State
from servetwin.sim.outcome import SnapshotRows

__all__ = ["MOST_SNAPSHOTS", "grown", "rows_of"]

MOST_SNAPSHOTS = 20_000_000
"""Rows of all replicas together; 48 bytes each."""


def grown(states: Sequence[State], interval: int, replicas: int) -> list[State]:
    """Give the pools of a run, which have so many replicas in all, room for twice as many rows.

    Raises TooManyRowsError.
    """
    before = states[0].snapshots.shape[0]
    rows = max(1024, 2 * before)
    if rows * replicas > MOST_SNAPSHOTS:
        rows = MOST_SNAPSHOTS // replicas
        if rows <= before:
            raise TooManyRowsError(
                f"snapshot interval {interval / 1e12:g} s gives more than "
                f"{MOST_SNAPSHOTS:,} rows in this run: choose a longer one"
            )
    # Row i is due at (i + 1) * interval, and is taken by the first event after that.
    states[0].world["snapshot_limit"] = min(rows * interval, int(FOREVER) - 1)
    return [state._replace(snapshots=_longer(state, rows)) for state in states]


def _longer(state: State, rows: int) -> np.ndarray[tuple[int, ...], np.dtype[np.void]]:
    before, replicas = state.snapshots.shape
    table = np.zeros((rows, replicas), SNAPSHOT)
    table[:before] = state.snapshots
    return table


def rows_of(states: Sequence[State], interval: int, replicas: int) -> SnapshotRows | None:
    """The rows of all pools side by side, up to the last event; None without an interval."""
    if not interval:
        return None
    rows = -(-int(states[0].world[0]["end"]) // interval)
    while rows > states[0].snapshots.shape[0]:
        states = grown(states, interval, replicas)
    for state in states:
        _fill_in(state, rows)
    tables = [state.snapshots[:rows] for state in states]
    return SnapshotRows(
        *(
            np.concatenate([table[name] for table in tables], axis=1).astype(np.int64)
            for name in SNAPSHOT.names or ()
        )
    )


WORK = {
    "prefill_tokens": "prefill",
    "decode_tokens": "decode",
    "iterations": "iterations",
    "context_tokens": "context",
}


def _fill_in(state: State, rows: int) -> None:
    """Take the last snapshots, `rows` in all, of replicas that no event has reached since."""
    capacities = state.settings["capacity"]
    for rep, column in zip(state.replica, state.snapshots.T, strict=True):
        rest = column[rep["snapshot"] : rows]
        if not rest.size:
            continue
        rest["running"] = rep["seats"]
        rest["waiting"] = rep["queue_length"] + rep["loading"]
        rest["kv_blocks"] = capacities[rep["kind"]] - rep["free"] - rep["ahead"]
        for name, done in WORK.items():
            rest[name][0] = rep[f"done_{done}"] - rep[f"seen_{done}"]
