"""What moves between a prefill pool and a decode pool, in whole numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

from servetwin.errors import InputError
from servetwin.types import DecodePool
from servetwin.units import CLOCK_END_PS, PS_PER_S, ceil_div

__all__ = ["TransferLink", "transfer_link"]


@dataclass(frozen=True)
class TransferLink:
    """The way of KV blocks from a prefill replica to a decode replica."""

    block_ps: int
    """Picoseconds that one block takes."""
    latency_ps: int
    layers: int = 0
    """Layers that are sent one by one while later ones are computed; 0 where all wait."""

    def duration(self, blocks: int, prefill_time: int) -> int:
        """Picoseconds until `blocks` are there, whose prompt took `prefill_time` of its own.

        At least 1, so that no transfer ends at the moment at which it begins.
        """
        whole = blocks * self.block_ps
        if self.layers:
            whole = max(ceil_div(whole, self.layers), whole - prefill_time)
        return max(1, self.latency_ps + whole)


def transfer_link(
    pool: DecodePool, layers: int, block_bytes: float, most_blocks: int
) -> TransferLink:
    """Round the link to picoseconds, for blocks of `block_bytes`.

    Raises InputError where one transfer of `most_blocks` would outlast the clock.
    """
    link = pool.transfer
    block_ps = math.ceil(min(block_bytes / link.bandwidth * PS_PER_S, CLOCK_END_PS))
    latency_ps = math.ceil(min(link.latency * PS_PER_S, CLOCK_END_PS))
    if most_blocks * block_ps + latency_ps > CLOCK_END_PS:
        raise InputError(
            f"link {link.name} between the pools is too slow: its {link.bandwidth:g} bytes/s move "
            f"{most_blocks:,} KV blocks of {block_bytes:,.0f} bytes in more than the 106 days of "
            "the clock"
        )
    return TransferLink(block_ps, latency_ps, layers if pool.layerwise else 0)
