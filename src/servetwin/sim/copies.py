"""Whether the link of the copies carries the KV that engines make."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from servetwin.sim.outcome import Outcome, SnapshotRows
from servetwin.types import CostModel, Deployment, Workload
from servetwin.units import PS_PER_S

__all__ = ["copy_notes"]


def copy_notes(
    deployment: Deployment, cost: CostModel, workload: Workload, outcome: Outcome, interval: int
) -> tuple[str, ...]:
    """Say where an engine made more KV than its copies' link carries; `interval` of the snapshots.

    Without snapshots that is the mean of all engines over the run."""
    failures = deployment.failures
    if failures is None or failures.copies is None:
        return ()
    costs = (cost, *cost.also) if cost.decode is None else (cost, cost.decode)
    kinds = deployment.groups if deployment.decode is None else deployment.pools
    per_token = np.repeat(
        [own.memory.kv_per_token for own in costs], [kind.replicas for kind in kinds]
    )
    if outcome.snapshots is None:
        speed, when = _mean(workload, outcome) / deployment.engines * per_token.mean(), "on average"
    else:
        seconds = interval / PS_PER_S
        speed = _most(outcome.snapshots, per_token) / seconds
        when = f"in its busiest {seconds:g} s"
    made, carried = speed / 1e9, failures.copies.bandwidth / 1e9
    if made <= carried:
        return ()
    return (
        f"an engine makes {made:.3g} GB/s of KV on each GPU {when}, and copies of it go over "
        f"{carried:.3g} GB/s: they fall further behind than is simulated",
    )


def _most(rows: SnapshotRows, per_token: NDArray[np.float64]) -> float:
    """Most bytes that one engine made from one snapshot to the next; `per_token` of each."""
    return float(np.max((rows.prefill_tokens + rows.decode_tokens) * per_token, initial=0.0))


def _mean(workload: Workload, outcome: Outcome) -> float:
    """Tokens a second of all engines together."""
    done = outcome.finish >= 0
    tokens = int(workload.input_tokens[done].sum()) + int(workload.output_tokens[done].sum())
    return tokens / outcome.span * PS_PER_S
