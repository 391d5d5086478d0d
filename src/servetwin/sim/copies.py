"""Whether the link of the copies carries the KV that engines make."""

from __future__ import annotations

import numpy as np

from servetwin.sim.inputs import Outcome
from servetwin.types import CostModel, Deployment, Workload
from servetwin.units import PS_PER_S

__all__ = ["copy_notes"]


def copy_notes(
    deployment: Deployment, cost: CostModel, workload: Workload, outcome: Outcome, interval: int
) -> tuple[str, ...]:
    """Say where an engine made more KV than its copies' link carries; `interval` of the snapshots.

    Without snapshots that is the mean of all engines over the run.
    """
    failures = deployment.failures
    if failures is None or failures.copies is None:
        return ()
    tokens, when = _fastest(outcome, interval)
    if outcome.snapshots is None:
        tokens, when = _mean(workload, outcome) / deployment.replicas, "on average"
    made, carried = tokens * cost.memory.kv_per_token / 1e9, failures.copies.bandwidth / 1e9
    if made <= carried:
        return ()
    return (
        f"an engine makes {made:.3g} GB/s of KV on each GPU {when}, and copies of it go over "
        f"{carried:.3g} GB/s: they fall further behind than is simulated",
    )


def _fastest(outcome: Outcome, interval: int) -> tuple[float, str]:
    """Most tokens a second that one engine computed from one snapshot to the next."""
    rows = outcome.snapshots
    if rows is None:
        return 0.0, ""
    tokens = np.max(rows.prefill_tokens + rows.decode_tokens, initial=0)
    seconds = interval / PS_PER_S
    return float(tokens) / seconds, f"in its busiest {seconds:g} s"


def _mean(workload: Workload, outcome: Outcome) -> float:
    done = outcome.finish >= 0
    tokens = int(workload.input_tokens[done].sum()) + int(workload.output_tokens[done].sum())
    span = int(outcome.finish.max(initial=0)) - int(outcome.arrival.min(initial=0))
    return tokens / max(span, 1) * PS_PER_S
