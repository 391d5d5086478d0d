"""Curves applied to kernel tables: what the fit minimises and the tests measure again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from servetwin.catalog import find_accelerator
from servetwin.cost.curves import (
    DecodeCurve,
    ElementwiseCurve,
    GemmCurve,
    MixtureCurve,
    PrefillCurve,
    Roof,
)
from servetwin.cost.kernel_tables import (
    AttentionTable,
    ElementwiseTable,
    GemmTable,
    MixtureTable,
)

__all__ = [
    "HARDWARE",
    "Hardware",
    "decode_seconds",
    "elementwise_seconds",
    "gemm_seconds",
    "held_out",
    "held_out_gemms",
    "mixture_seconds",
    "prefill_seconds",
    "relative_error",
]

Floats = NDArray[np.float64]
US = 1e-6


@dataclass(frozen=True)
class Hardware:
    """A device that was timed, and where the timings of its GEMMs come from."""

    accelerator: str
    """Name in the catalog, whose peaks the fitted shares refer to."""
    gemm_source: str
    source: str
    applies_to: tuple[str, ...]
    """Starts of the names of devices with this chip, or one of its family."""

    def roof(self, dtype: str = "bf16") -> Roof:
        """Peaks of the data sheet for this arithmetic."""
        accelerator = find_accelerator(self.accelerator)
        return Roof(accelerator.flops[dtype], accelerator.bandwidth)


HARDWARE = {
    "A100": Hardware(
        "A100-80GB",
        "aiconfigurator",
        "vLLM 0.14 kernel tables of the A100 SXM",
        ("A100",),
    ),
    "H100": Hardware(
        "H100-SXM",
        "aiconfigurator",
        "vLLM 0.19 kernel tables of the H100 SXM",
        ("H100", "H200", "GH200"),
    ),
    "A40": Hardware(
        "A40",
        "vidur",
        "Vidur MLP timings of the A40, attention as the default",
        ("A40", "A10", "RTX A6000", "RTX 3090", "RTX 3080"),
    ),
    "RTX4090": Hardware(
        "RTX-4090",
        "layers",
        "vLLM 0.19 layer timings of the RTX 4090",
        ("RTX 4090",),
    ),
    "RTXPRO6000": Hardware(
        "RTX-PRO-6000",
        "layers",
        "vLLM 0.19 layer timings of the RTX PRO 6000",
        ("RTX PRO 6000",),
    ),
}
"""Devices with timings."""


def held_out(*columns: Floats) -> NDArray[np.bool_]:
    """Rows of the one shape in five that no fit sees, decided by the shape alone."""
    mixed = np.zeros(columns[0].size, dtype=np.uint64)
    for column in columns:
        mixed = mixed * np.uint64(0x9E3779B97F4A7C15) + column.astype(np.uint64)
        mixed ^= mixed >> np.uint64(29)
    mixed = (mixed * np.uint64(0xBF58476D1CE4E5B9)) >> np.uint64(32)
    return np.asarray(mixed % np.uint64(5) == 0, dtype=np.bool_)


def held_out_gemms(hardware: Hardware, table: GemmTable) -> NDArray[np.bool_]:
    """Whole matrices where there are many, else single batch sizes of the few there are."""
    if hardware.gemm_source == "layers":
        return held_out(table.rows, table.n, table.k)
    return held_out(table.n, table.k)


def relative_error(predicted: Floats, measured: Floats) -> tuple[float, float, float]:
    """Median and 90th percentile of the absolute relative error, and the median signed one."""
    error = predicted / measured - 1.0
    size = np.abs(error)
    return float(np.median(size)), float(np.quantile(size, 0.9)), float(np.median(error))


def gemm_seconds(curve: GemmCurve, roof: Roof, table: GemmTable, element: float = 2.0) -> Floats:
    """Seconds of every GEMM of the table; `element` is the bytes of one weight."""
    flops = 2.0 * (table.rows + curve.half_rows) * table.n * table.k
    moved = table.n * table.k * element + 2.0 * table.rows * (table.n + table.k)
    return curve.seconds(roof, flops, moved)


def decode_seconds(curve: DecodeCurve, roof: Roof, table: AttentionTable) -> Floats:
    """Seconds of every decode call of the table (16-bit cache)."""
    tokens = table.sequences * (table.done + table.tokens + curve.extra_tokens)
    moved = tokens * 4.0 * table.kv_heads * table.head_dim
    return np.asarray(curve.launch_us * US + moved / (roof.bandwidth * curve.memory))


def prefill_seconds(curve: PrefillCurve, roof: Roof, table: AttentionTable) -> Floats:
    """Seconds of every prefill call of the table."""
    keys = table.done + table.tokens / 2.0 + curve.extra_keys
    flops = table.sequences * table.tokens * keys * 4.0 * table.heads * table.head_dim
    return np.asarray(curve.launch_us * US + flops / (roof.flops * curve.compute))


def elementwise_seconds(curve: ElementwiseCurve, roof: Roof, table: ElementwiseTable) -> Floats:
    """Seconds of every elementwise kernel of the table."""
    return np.asarray(curve.launch_us * US + table.moved / (roof.bandwidth * curve.memory))


def mixture_seconds(
    curve: MixtureCurve, gemm: GemmCurve, roof: Roof, table: MixtureTable
) -> Floats:
    """Seconds of every grouped expert pass of the table: gate and up together, then down."""
    hidden, inner = table.hidden_size, table.expert_size
    pairs = table.tokens * table.experts_per_token
    rows = pairs + curve.padding_rows * table.active_experts
    total = np.full(rows.size, (curve.launch_us - 2 * gemm.launch_us) * US)
    for n, k in ((2 * inner, hidden), (hidden, inner)):
        moved = 2.0 * table.active_experts * n * k + 2.0 * pairs * (n + k)
        total = total + gemm.seconds(roof, 2.0 * rows * n * k, moved)
    return total
