"""Limits of one data-parallel rank, as vLLM takes them, and of all ranks of an engine together.

In vLLM every rank has a scheduler and a KV cache of its own. Here an engine has one of each:
its `EngineSettings` hold the limits of all ranks together. `resolve_settings` is the only
place that converts what a user writes; everything else asks `rank_limits`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from servetwin.types import Deployment, EngineSettings

__all__ = ["RankLimits", "rank_limits", "together"]


@dataclass(frozen=True)
class RankLimits:
    """What vLLM counts for each rank, by the names of EngineSettings."""

    max_num_seqs: int
    max_num_batched_tokens: int
    num_gpu_blocks_override: int | None


def rank_limits(deployment: Deployment) -> RankLimits:
    """Limits of one rank of an engine; those of the engine itself where dp is 1."""
    settings, ranks = deployment.settings, deployment.parallelism.dp
    blocks = settings.num_gpu_blocks_override
    return RankLimits(
        max_num_seqs=max(1, settings.max_num_seqs // ranks),
        max_num_batched_tokens=max(1, settings.max_num_batched_tokens // ranks),
        num_gpu_blocks_override=None if blocks is None else blocks // ranks,
    )


def together(settings: EngineSettings, ranks: int) -> EngineSettings:
    """Settings with the limits of one rank -> settings of an engine of `ranks` of them."""
    limits = {name: getattr(settings, name) for name in RankLimits.__dataclass_fields__}
    return replace(
        settings,
        **{name: limit * ranks for name, limit in limits.items() if limit is not None},
    )
