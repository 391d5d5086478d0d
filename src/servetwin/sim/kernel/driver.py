"""Run the kernel in slices: progress, Ctrl-C, and room for snapshots."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from servetwin.cache.kernel.tiers import traffic
from servetwin.sim.inputs import SimInputs
from servetwin.sim.kernel.allocation import allocate
from servetwin.sim.kernel.cluster import (
    DONE,
    NEEDS_ROWS,
    OVERRUN,
    PAUSED,
    run_plain_slice,
    run_slice,
)
from servetwin.sim.kernel.outages import failures_of
from servetwin.sim.kernel.snapshot_rows import grown, rows_of
from servetwin.sim.outcome import Outcome

__all__ = ["SLICE", "run"]

SLICE = 2_000_000
"""Events between two looks at the outside world: about half a second."""


def run(inputs: SimInputs, progress: Callable[[int], None] | None = None) -> Outcome:
    """Simulate. `progress` is told how many requests have arrived so far."""
    if inputs.decode is not None:
        from servetwin.sim.kernel.pools_driver import run_pools

        return run_pools(inputs, inputs.decode, SLICE, progress)
    state = allocate(inputs)
    advance = run_plain_slice if inputs.plain else run_slice
    if inputs.failures is not None:
        from servetwin.sim.kernel.failures import run_failing_slice

        advance = run_failing_slice
    while (answer := advance(state, SLICE)) != DONE:
        if answer == OVERRUN:
            raise inputs.outlasts_clock()
        if answer == NEEDS_ROWS:
            (state,) = grown([state], inputs.snapshot_interval, inputs.replicas)
        if answer == PAUSED and progress is not None:
            progress(int(np.count_nonzero(state.home >= 0)))
    world = state.world[0]
    kinds, peaks = state.replica["kind"], state.replica["peak"]
    peak, *others = (int(peaks[kinds == kind].max()) for kind in range(state.settings.size))
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
        peak_blocks=peak,
        also_peak_blocks=tuple(others),
        gaps=state.gaps,
        snapshots=rows_of([state], inputs.snapshot_interval, inputs.replicas),
        cached_tokens=None if inputs.prefixes is None else state.caches.cached,
        kv_transfer=state.loads.transfer if inputs.tiers else None,
        tiers=traffic(state.caches.tiers, inputs.tiers),
        stage_busy=state.stages.busy if inputs.stages else None,
        prefill_stage_wait=state.stages.prefill_wait if inputs.stages else None,
        decode_stage_wait=state.stages.decode_wait if inputs.stages else None,
        iterations=int(state.replica["iterations"].sum()),
        split_chunks=int(state.replica["split_chunks"].sum()),
        events=int(world["events"]),
        **failures_of((state,), inputs),
    )
