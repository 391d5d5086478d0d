"""Tiers below HBM in whole numbers: what both implementations work with."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from servetwin.cache.policies import ENGINE_POLICIES, check_policy
from servetwin.errors import InputError
from servetwin.types import KVTier
from servetwin.units import PS_PER_S

__all__ = ["LATEST", "LONGEST", "TIER_POLICIES", "TierLimits", "TierTraffic", "tier_limits"]

TIER_POLICIES = tuple(name for name in ENGINE_POLICIES if name != "flop-aware")
"""Policies of a tier. Blocks come down end first, so none that asks for the block before."""

LATEST = (1 << 63) - 1
"""When a transfer ends that would take longer than the clock lasts, in picoseconds."""

LONGEST = 1 << 62
"""Most picoseconds of one block's transfer, or of a latency."""


@dataclass(frozen=True)
class TierLimits:
    """One tier of one engine."""

    name: str
    blocks: int
    block_ps: int
    """Picoseconds that one block takes on the way in or out."""
    latency_ps: int
    policy: str = "vllm-lru"


@dataclass(frozen=True)
class TierTraffic:
    """Blocks that went through one KV tier, over all engines."""

    name: str
    written: int
    """Came down and were stored."""
    clean: int
    """Came down, and were there already."""
    loaded: int
    """Were read back for a request."""
    declined: int
    """Were found for a request, which computed them sooner."""
    evicted: int
    """Went on to the next tier, or for good."""

    def stated(self, block_bytes: float) -> dict[str, Any]:
        """Return it as the summary of a run states it."""
        return {
            "name": self.name,
            "loaded_blocks": self.loaded,
            "recomputed_blocks": self.declined,
            "written_blocks": self.written,
            "evicted_blocks": self.evicted,
            "read_bytes": round(self.loaded * block_bytes),
            "written_bytes": round(self.written * block_bytes),
        }


def tier_limits(
    tiers: Iterable[KVTier], block_bytes: float, distinct: int
) -> tuple[TierLimits, ...]:
    """Count each tier in blocks of `block_bytes` (those of all the engine's devices).

    More than `distinct` blocks, the different ones of a workload, are as good as those. A
    tier without bandwidth, or without room for a block, is left out. Raises InputError for a
    policy that tiers cannot have.
    """
    limits = []
    for tier in tiers:
        policy = _policy(tier)
        blocks = tier.capacity if tier.in_blocks else int(tier.capacity // block_bytes)
        blocks = min(blocks, distinct)
        if blocks and tier.bandwidth:
            block_ps = _picoseconds(block_bytes / tier.bandwidth)
            latency = _picoseconds(tier.latency)
            limits.append(TierLimits(tier.name, blocks, block_ps, latency, policy))
    return tuple(limits)


def _policy(tier: KVTier) -> str:
    policy = check_policy(tier.policy)
    if policy not in TIER_POLICIES:
        known = ", ".join(TIER_POLICIES)
        raise InputError(f"KV tier '{tier.name}' cannot have policy {policy}: known are {known}")
    return policy


def _picoseconds(seconds: float) -> int:
    return math.ceil(min(seconds * PS_PER_S, LONGEST))
