"""Accelerator, Link and KVTier: devices, wires, and memory below that of the device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Accelerator", "KVTier", "Link"]


@dataclass(frozen=True)
class Accelerator:
    """A device. FLOP/s are dense (never the figure with structured sparsity)."""

    name: str
    flops: Mapping[str, float]
    """Peak dense FLOP/s by dtype: fp32, bf16 (fp16 where it has no bf16), fp8, fp4; a dtype it
    lacks is absent."""
    bandwidth: float
    """Memory bandwidth, bytes/s."""
    memory: float
    """Memory, bytes, as an operating system reports it to the engine."""
    idle_watts: float | None = None
    max_watts: float | None = None
    price_per_hour: float | None = None
    """US dollars for one device and hour."""
    link: str = "PCIe4"
    """Catalog name of the connection to its neighbours in one machine."""
    vendor: str = ""
    sources: Mapping[str, str] = field(default_factory=dict)
    """Where each figure comes from; a figure that could not be sourced says "unsourced"."""

    def __post_init__(self) -> None:
        if not self.flops or any(value <= 0 for value in self.flops.values()):
            raise ValueError(f"{self.name}: flops must name at least one dtype, all positive")
        if self.bandwidth <= 0 or self.memory <= 0:
            raise ValueError(f"{self.name}: bandwidth and memory must be positive")


@dataclass(frozen=True)
class Link:
    """A connection between two devices, in one direction."""

    name: str
    bandwidth: float
    """Bytes/s in one direction."""
    latency: float
    """Seconds for an empty message."""
    sources: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.bandwidth <= 0 or self.latency < 0:
            raise ValueError(f"{self.name}: bandwidth must be positive, latency not negative")


@dataclass(frozen=True)
class KVTier:
    """Memory of one engine for KV blocks that leave the tier above it, HBM first of all."""

    name: str
    """`host`, `ssd`, `remote`, or any other word."""
    capacity: int
    """Bytes, or blocks if `in_blocks`. Of a store that engines share, one engine's share."""
    bandwidth: float
    """Bytes/s of the whole engine in each direction. With 0, the tier is left out."""
    latency: float = 0.0
    """Seconds until the first byte of a transfer."""
    in_blocks: bool = False
    policy: str = "vllm-lru"
    """Which block goes when there is no room: a name from `cache.TIER_POLICIES`."""

    def __post_init__(self) -> None:
        if not self.name or self.capacity < 0:
            raise ValueError(
                f"{self.name or 'a KV tier'}: needs a name and a capacity of 0 or more"
            )
        for value in (self.bandwidth, self.latency):
            if not 0 <= value < float("inf"):
                raise ValueError(f"{self.name}: bandwidth and latency must be finite, 0 or more")
