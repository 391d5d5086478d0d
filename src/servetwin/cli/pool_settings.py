"""The settings of a decode pool; what is not set here is as in the prefill pool."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from servetwin.cli.setting_fields import Count, Tiers, option

__all__ = ["ALIKE", "DECODE", "POOL_DEFAULTS", "PoolSettings"]

DECODE = "decode_"

ALIKE = (
    "gpu",
    "tp",
    "pp",
    "dp",
    "router",
    "scheduler",
    "max_num_seqs",
    "max_num_batched_tokens",
    "gpu_memory_utilization",
)
"""Settings that a decode pool shares with the prefill pool where it has none of its own."""

POOL_DEFAULTS = (
    *(DECODE + name for name in ALIKE),
    "decode_link",
    "decode_ep",
    "decode_max_model_len",
    "prefill_replicas",
    "kv_link",
)
"""Fields that follow from the rest of the deployment where nobody sets them."""


class PoolSettings(BaseModel):
    """Two pools: all other settings of the deployment are then those of the prefill pool."""

    prefill_replicas: Count | None = option(
        None, "Pools", "N", "Engines that compute prompts; else --replicas."
    )
    decode_replicas: Count | None = option(
        None, "Pools", "N", "Engines that decode what those have prefilled: two pools."
    )
    kv_link: str | None = option(
        None,
        "Pools",
        "LINK",
        "From each prefill to each decode replica: a name or 50GB/s,latency=5us; "
        "else InfiniBand-NDR.",
    )
    kv_transfer: str = option(
        "layerwise", "Pools", "WHEN", "layerwise, while later layers are computed, or after."
    )
    decode_gpu: str | None = option(
        None, "Pools", "NAME", "Of the decode pool, as all that follow; else the prefill pool's."
    )
    decode_link: str | None = option(None, "Pools", "NAME", "Else the GPU's own.")
    decode_tp: Count | None = option(None, "Pools", "N", "Tensor-parallel devices.")
    decode_pp: Count | None = option(None, "Pools", "N", "Pipeline stages.")
    decode_dp: Count | None = option(None, "Pools", "N", "Data-parallel attention ranks.")
    decode_ep: Count | None = option(None, "Pools", "N", "Devices with whole experts.")
    decode_router: str | None = option(None, "Pools", "NAME", "Router of the decode pool.")
    decode_scheduler: str | None = option(None, "Pools", "NAME", "Its scheduler.")
    decode_max_num_seqs: Count | None = option(None, "Pools", "N", "Requests at once.")
    decode_max_num_batched_tokens: Count | None = option(
        None, "Pools", "N", "Tokens one iteration may process."
    )
    decode_max_model_len: Count | None = option(
        None, "Pools", "N", "Longest input plus output; else --max-model-len, or what it holds."
    )
    decode_gpu_memory_utilization: float | None = option(
        None, "Pools", "SHARE", "Share of GPU memory the engine takes."
    )
    decode_num_gpu_blocks_override: Annotated[int, Field(ge=2, le=10**12)] | None = option(
        None, "Pools", "N", "KV blocks, whatever its memory would hold."
    )
    decode_kv_tier: Tiers | None = option(
        None, "Pools", "TIER", "Memory for KV blocks that its HBM evicts; else none."
    )
