"""Accelerator and Link: what a catalog entry knows about a device or a wire."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Accelerator", "Link"]


@dataclass(frozen=True)
class Accelerator:
    """A device. FLOP/s are dense (never the figure with structured sparsity)."""

    name: str
    flops: Mapping[str, float]
    """Peak dense FLOP/s by dtype: fp32, bf16, fp8, fp4; a dtype it lacks is absent."""
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
