"""Pipeline stages in the integers of a run.

An engine whose stages hold several microbatches counts as as many *lanes*: engines with their
own queue, seats and blocks that share the stages. Lane `r` belongs to engine `r % engines`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from servetwin.cost.stages import SHARE_BITS, stage_edges
from servetwin.types import CostModel, Deployment, EngineSettings
from servetwin.units import PS_PER_S

__all__ = ["SHARE_BITS", "Stages", "lane_blocks", "lane_settings", "stages_of", "up_to_edge"]


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
    """Settings of one lane: seats are shared out, and no iteration is planned ahead."""
    settings, pipeline = deployment.settings, deployment.parallelism.pipeline
    if pipeline is None:
        return settings
    seats = max(1, settings.max_num_seqs // pipeline.microbatches)
    return replace(settings, max_num_seqs=seats, async_scheduling=False)


def lane_blocks(deployment: Deployment, blocks: int) -> int:
    """KV blocks of one lane, of those that fit on the devices."""
    pipeline = deployment.parallelism.pipeline
    return blocks if pipeline is None else blocks // (pipeline.resident or pipeline.microbatches)
