"""Pipeline stages in the integers of a run.

An engine whose stages hold several microbatches counts as as many *lanes*: engines with their
own queue, seats and blocks that share the stages. Lane `r` belongs to engine `r % engines`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from servetwin.cost.stages import SHARE_BITS, stage_edges
from servetwin.types import CostModel, Deployment, EngineSettings
from servetwin.units import PS_PER_S

if TYPE_CHECKING:
    from servetwin.sim.inputs import SimInputs
    from servetwin.sim.outcome import Outcome

__all__ = [
    "SHARE_BITS",
    "Stages",
    "lane_settings",
    "merge_lanes",
    "stage_use",
    "stages_of",
    "up_to_edge",
]


@dataclass(frozen=True)
class Stages:
    """What lanes share."""

    engines: int
    edges: tuple[int, ...]
    """See `cost.stages.stage_edges`."""
    swap: int = 0
    """Picoseconds to copy one token's KV between host memory and each stage; 0: it stays there."""

    @property
    def count(self) -> int:
        return len(self.edges) - 1


def up_to_edge(duration: int, edge: int) -> int:
    """Floor of `duration * edge / 2**16`, without a product that could pass 64 bits."""
    mask = (1 << SHARE_BITS) - 1
    return (duration >> SHARE_BITS) * edge + ((duration & mask) * edge >> SHARE_BITS)


def stages_of(deployment: Deployment, cost: CostModel) -> Stages | None:
    """Stages of a deployment; None where one iteration at a time is in them."""
    pipeline = deployment.parallelism.pipeline
    if pipeline is None:
        return None
    swap = 0
    if pipeline.swaps and pipeline.host is not None:
        swap = max(1, round(cost.memory.kv_per_token / pipeline.host.bandwidth * PS_PER_S))
    return Stages(deployment.replicas, stage_edges(deployment), swap)


def lane_settings(deployment: Deployment) -> EngineSettings:
    """Settings of one lane: seats are shared out, and no iteration is planned ahead.

    Every lane has one (`cost.stages.check_stages`).
    """
    settings, pipeline = deployment.settings, deployment.parallelism.pipeline
    if pipeline is None:
        return settings
    seats = settings.max_num_seqs // pipeline.microbatches
    return replace(settings, max_num_seqs=seats, async_scheduling=False)


def merge_lanes(inputs: SimInputs, outcome: Outcome) -> Outcome:
    """Number engines instead of their lanes, and add up what the snapshots say of those."""
    pools = [inputs] if inputs.decode is None else [inputs, inputs.decode.engine]
    if all(pool.stages is None for pool in pools):
        return outcome
    parts, engines = [], 0
    for pool in pools:
        count = pool.engines
        parts.append(engines + np.arange(pool.replicas) % count)
        engines += count
    engine = np.concatenate(parts).astype(np.int32)
    rows = outcome.snapshots
    if rows is not None:
        order = {column.name: getattr(rows, column.name) for column in fields(rows)}
        rows = replace(rows, **{name: _summed(table, engine) for name, table in order.items()})
    homes = {
        name: np.where(lanes < 0, lanes, engine[lanes])
        for name in ("replica", "prefill_replica")
        if (lanes := getattr(outcome, name)) is not None
    }
    return replace(outcome, snapshots=rows, **homes)


def _summed(table: NDArray[np.int64], engine: NDArray[np.int32]) -> NDArray[np.int64]:
    """Columns of lanes -> columns of engines."""
    whole = np.zeros((table.shape[0], int(engine.max()) + 1), np.int64)
    for lane, home in enumerate(engine):
        whole[:, home] += table[:, lane]
    return whole


def stage_use(
    inputs: SimInputs, outcome: Outcome, work: NDArray[np.int64] | None
) -> dict[str, Any] | None:
    """How busy the stages of a pool were from the first arrival to the last token.

    `work` is its `stage_busy` in the outcome. None without stages.
    """
    if inputs.stages is None or work is None:
        return None
    busy = work.mean(axis=0) / outcome.span
    return {
        "stages": inputs.stages.count,
        "microbatches": inputs.replicas // inputs.stages.engines,
        "utilization": [round(float(share), 6) for share in busy],
        "bubbles": round(1.0 - float(busy.mean()), 6),
    }
