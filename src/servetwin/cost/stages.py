"""How layers and time of an engine are divided over its pipeline stages."""

from __future__ import annotations

from servetwin.cost.ranks import rank_limits
from servetwin.errors import InputError
from servetwin.types import Deployment
from servetwin.units import ceil_div

__all__ = [
    "SHARE_BITS",
    "check_stages",
    "lane_blocks",
    "stage_edges",
    "stage_layers",
    "stage_share",
]

SHARE_BITS = 16
"""Shares of an iteration count in units of 2**-16."""


def stage_layers(deployment: Deployment) -> tuple[int, ...]:
    """Layers of each stage: as told, or as even as possible with the first stages fuller."""
    layout = deployment.parallelism
    if layout.pipeline is not None and layout.pipeline.layers:
        return layout.pipeline.layers
    each, more = divmod(deployment.model.layers, layout.pp)
    return tuple(each + (stage < more) for stage in range(layout.pp))


def stage_share(deployment: Deployment) -> float:
    """Share of all layers on the fullest stage; layers count as equal."""
    return max(stage_layers(deployment)) / deployment.model.layers


def stage_edges(deployment: Deployment) -> tuple[int, ...]:
    """Where in an iteration each stage begins, and the last one ends; in 2**-16 of it.

    Every layer takes as long as any other, on devices that are `speeds` times as fast as the
    deployment's. The last edge is 2**16 where all speeds are 1.
    """
    layers, pipeline = stage_layers(deployment), deployment.parallelism.pipeline
    speeds = pipeline.speeds if pipeline and pipeline.speeds else (1.0,) * len(layers)
    times = [count / speed for count, speed in zip(layers, speeds, strict=True)]
    ends = [sum(times[: stage + 1]) for stage in range(len(times))]
    return (0, *(round(2**SHARE_BITS * end / deployment.model.layers) for end in ends))


def lane_blocks(deployment: Deployment, blocks: int) -> int:
    """KV blocks of one microbatch, of those that fit on the devices of an engine."""
    pipeline = deployment.parallelism.pipeline
    return blocks if pipeline is None else blocks // (pipeline.resident or pipeline.microbatches)


def check_stages(deployment: Deployment) -> None:
    """Raise InputError where stages do not hold the model's layers, or microbatches nobody."""
    layers, model = stage_layers(deployment), deployment.model
    if sum(layers) != model.layers:
        raise InputError(
            f"the stages have {sum(layers)} layers together, {model.name} has {model.layers}"
        )
    layout, seats = deployment.parallelism, deployment.settings.max_num_seqs
    lanes = 1 if layout.pipeline is None else layout.pipeline.microbatches
    if lanes > seats:
        given, needed = rank_limits(deployment).max_num_seqs, ceil_div(lanes, layout.dp)
        raise InputError(
            f"microbatches {lanes}: max-num-seqs {given} leaves some of them without a request: "
            f"at most microbatches {seats}, or at least max-num-seqs {needed}"
        )
