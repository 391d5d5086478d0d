"""Seconds of collectives between the devices of one engine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from servetwin.cost.curves import CollectiveCurve
from servetwin.types import Link

__all__ = ["all_reduce_seconds", "send_seconds"]

Floats = NDArray[np.float64]
US = 1e-6


def all_reduce_seconds(curve: CollectiveCurve, link: Link, devices: int, size: Floats) -> Floats:
    """Seconds to sum `size` bytes over `devices`; nothing for one device.

    Each device sends and receives `2 (d - 1) / d` of the bytes: one pass scatters partial
    sums, one gathers the results. An all-gather followed by a reduce-scatter, which is how
    vLLM moves tokens between expert-parallel ranks by default, costs the same.
    """
    if devices == 1:
        return np.zeros_like(size)
    share = 2.0 * (devices - 1) / devices
    start = curve.launch_us * US + 2 * link.latency
    return np.asarray(start + share * size / (link.bandwidth * curve.all_reduce))


def send_seconds(curve: CollectiveCurve, link: Link, size: Floats) -> Floats:
    """Seconds to send `size` bytes from one device to another."""
    start = curve.launch_us * US + link.latency
    return np.asarray(start + size / (link.bandwidth * curve.send))
