"""What the inputs of a workload share, and which of it an engine keeps."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from servetwin.cache import ENGINE_POLICIES, BlockTrace, PolicyFactory, PolicyOptions, check_policy
from servetwin.cache.trace import full_blocks
from servetwin.errors import InputError
from servetwin.types import BlockHashes, EngineSettings, Workload

__all__ = ["Prefixes", "find_prefixes"]


@dataclass(frozen=True)
class Prefixes:
    """The full blocks of all inputs, at the engine's block size, and the eviction policy."""

    blocks: BlockTrace
    policy: str | PolicyFactory = "vllm-lru"
    """One of ENGINE_POLICIES, or what makes an own policy (reference simulator only)."""
    options: PolicyOptions = field(default_factory=PolicyOptions)

    def __post_init__(self) -> None:
        if isinstance(self.policy, str):
            object.__setattr__(self, "policy", check_policy(self.policy, ENGINE_POLICIES))
        if self.policy == "flop-aware" and not self.blocks.prefix_chained:
            raise InputError(
                f"{self.blocks.source}: flop-aware needs blocks that always stand behind the "
                "same block, and some here do not; take another policy"
            )


def find_prefixes(
    workload: Workload,
    settings: EngineSettings,
    policy: PolicyFactory | None = None,
    options: PolicyOptions | None = None,
) -> Prefixes | None:
    """Cut a workload's prefixes into the engine's blocks; None where nothing can be cached.

    That is so with prefix caching off, and where no request names a full block. `policy`
    stands in for the one that the settings name.
    """
    hashes = workload.block_hashes
    if not settings.enable_prefix_caching or hashes is None:
        return None
    if settings.max_loras and workload.adapter is not None:
        hashes = _of_adapters(hashes, workload.adapter)
    blocks = full_blocks(workload, hashes, settings.block_size)
    if not blocks.references:
        return None
    chosen = settings.prefix_caching_policy if policy is None else policy
    return Prefixes(blocks, chosen, options or PolicyOptions())


def _of_adapters(hashes: BlockHashes, adapter: NDArray[np.int32]) -> BlockHashes:
    """Blocks that differ where the adapters of their requests do, as in vLLM."""
    ids = np.unique(hashes.ids, return_inverse=True)[1].astype(np.int64)
    names, numbers = np.unique(adapter, return_inverse=True)
    owner = np.repeat(numbers, np.diff(hashes.offsets))
    return replace(hashes, ids=ids * names.size + owner)
