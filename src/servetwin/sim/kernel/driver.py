"""Run the kernel in slices: progress, Ctrl-C, and room for snapshots."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from servetwin.cache.kernel.tiers import traffic
from servetwin.sim.inputs import Outcome, SimInputs, SnapshotRows, TooManyRowsError
from servetwin.sim.kernel.allocation import allocate
from servetwin.sim.kernel.cluster import (
    DONE,
    NEEDS_ROWS,
    OVERRUN,
    PAUSED,
    finish_snapshots,
    run_slice,
)
from servetwin.sim.kernel.state import FOREVER, SNAPSHOT, State

__all__ = ["MOST_SNAPSHOTS", "SLICE", "run"]

SLICE = 2_000_000
"""Events between two looks at the outside world: about half a second."""

MOST_SNAPSHOTS = 20_000_000
"""Rows of all replicas together; 48 bytes each."""


def run(inputs: SimInputs, progress: Callable[[int], None] | None = None) -> Outcome:
    """Simulate. `progress` is told how many requests have arrived so far."""
    state = allocate(inputs)
    while (answer := run_slice(state, SLICE)) != DONE:
        if answer == OVERRUN:
            raise inputs.outlasts_clock()
        if answer == NEEDS_ROWS:
            state = _with_more_rows(state, inputs)
        if answer == PAUSED and progress is not None:
            progress(int(np.count_nonzero(state.home >= 0)))
    world = state.world[0]
    return Outcome(
        arrival=state.arrival,
        first_scheduled=state.first_scheduled,
        first_token=state.first_token,
        finish=state.finish,
        preemptions=state.preemptions,
        replica=state.home,
        status=state.status,
        prefill_time=state.prefill_time,
        decode_time=state.decode_time,
        preempted_time=state.preempted_time,
        peak_blocks=int(state.replica["peak"].max()),
        gaps=state.gaps,
        snapshots=_snapshots(state, inputs),
        cached_tokens=None if inputs.prefixes is None else state.caches.cached,
        kv_transfer=state.loads.transfer if inputs.tiers else None,
        tiers=traffic(state.caches.tiers, inputs.tiers),
        iterations=int(state.replica["iterations"].sum()),
        split_chunks=int(state.replica["split_chunks"].sum()),
        events=int(world["events"]),
    )


def _with_more_rows(state: State, inputs: SimInputs) -> State:
    rows = max(1024, 2 * state.snapshots.shape[0])
    if rows * inputs.replicas > MOST_SNAPSHOTS:
        rows = MOST_SNAPSHOTS // inputs.replicas
        if rows <= state.snapshots.shape[0]:
            raise TooManyRowsError(
                f"snapshot interval {inputs.snapshot_interval / 1e12:g} s gives more than "
                f"{MOST_SNAPSHOTS:,} rows in this run: choose a longer one"
            )
    table = np.zeros((rows, inputs.replicas), SNAPSHOT)
    table[: state.snapshots.shape[0]] = state.snapshots
    # Row i is due at (i + 1) * interval, and is taken by the first event after that.
    limit = min(rows * inputs.snapshot_interval, int(FOREVER) - 1)
    state.world["snapshot_limit"] = limit
    return state._replace(snapshots=table)


def _snapshots(state: State, inputs: SimInputs) -> SnapshotRows | None:
    if not inputs.snapshot_interval:
        return None
    rows = -(-int(state.world[0]["end"]) // inputs.snapshot_interval)
    while rows > state.snapshots.shape[0]:
        state = _with_more_rows(state, inputs)
    finish_snapshots(state, rows)
    table = state.snapshots[:rows]
    return SnapshotRows(*(table[name].astype(np.int64) for name in SNAPSHOT.names or ()))
