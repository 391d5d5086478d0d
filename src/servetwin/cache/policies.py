"""The eviction policies by name, and what can be set about them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from servetwin.errors import InputError, nearest

__all__ = ["ENGINE_POLICIES", "POLICIES", "PolicyOptions", "check_policy", "flop_bonus"]

ENGINE_POLICIES = ("vllm-lru", "fifo", "lfu", "s3-fifo", "flop-aware")
"""Policies an engine can have: they know the past only, and spare blocks that are in use."""

POLICIES = ("trace-lru", *ENGINE_POLICIES, "belady")
"""All policies; the first and the last are defined on traces only."""


@dataclass(frozen=True)
class PolicyOptions:
    """Settings of single policies; the others ignore them."""

    alpha: float = 1.0
    """`flop-aware`: weight of the FLOPs a block saves against its recency; 0 is LRU."""
    crossover_tokens: float = 30_000.0
    """`flop-aware`: context length at which attention costs a token as many FLOPs as all the
    linear layers, `parameters / (2 * layers * width)`; 30,000 is Llama-3-8B."""
    small_share: float = 0.1
    """`s3-fifo`: share of the capacity beyond which blocks leave the small queue."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.alpha <= 1e6:
            raise InputError(f"alpha {self.alpha:g} must lie between 0 and 1e6")
        if not 1.0 <= self.crossover_tokens <= 1e12:
            raise InputError(f"crossover_tokens {self.crossover_tokens:g} must be at least 1")
        if not 0.0 < self.small_share < 1.0:
            raise InputError(f"small_share {self.small_share:g} must lie between 0 and 1")

    def small_room(self, capacity: int) -> int:
        """Blocks in S3-FIFO's small queue from which on it is evicted from."""
        return max(1, int(capacity * self.small_share))


def check_policy(name: str, known: tuple[str, ...] = POLICIES) -> str:
    """Return the policy's name as it is spelled here; InputError with the nearest if unknown.

    Case does not matter, nor whether words are joined by dashes, underscores or spaces.
    """
    folded = "-".join(name.strip().casefold().replace("_", " ").replace("-", " ").split())
    if folded in known:
        return folded
    hint = nearest(folded, known) or f"policies are {', '.join(known)}"
    raise InputError(f"unknown policy '{name[:80]}': {hint}")


def flop_bonus(
    depths: int, capacity: int, block_tokens: int, options: PolicyOptions
) -> NDArray[np.int64]:
    """How many references longer `flop-aware` keeps a block, by its depth in the prefix.

    A block of `B` tokens behind `d` others saves `B * (1 + (d + 1/2) * B / crossover)` times
    a token's linear FLOPs, and every block takes the same bytes. This is divided by its
    value at the deepest of `depths` blocks, and weighted by `alpha` turnovers of the cache,
    one of which is `capacity` references.
    """
    depth = np.arange(max(depths, 1), dtype=np.float64)
    saved = 1.0 + (depth + 0.5) * block_tokens / options.crossover_tokens
    bonus = np.floor(options.alpha * capacity * saved / saved[-1])
    return np.asarray(bonus, dtype=np.int64)
