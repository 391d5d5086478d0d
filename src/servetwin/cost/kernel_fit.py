"""Curves applied to kernel tables: what the fit minimises and the tests measure again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
    """A device that was timed: the data sheet's peaks and where its GEMMs come from."""

    flops: float
    bandwidth: float
    gemm_source: str
    source: str
    applies_to: tuple[str, ...]
    flops_fp8: float = 0.0

    @property
    def roof(self) -> Roof:
        return Roof(self.flops, self.bandwidth)


HARDWARE = {
    "A100": Hardware(
        312e12,
        2.039e12,
        "aiconfigurator",
        "vLLM 0.14 kernel tables of the A100 SXM",
        ("A100",),
    ),
    "H100": Hardware(
        989.4e12,
        3.35e12,
        "aiconfigurator",
        "vLLM 0.19 kernel tables of the H100 SXM",
        ("H100", "H200", "GH200"),
        flops_fp8=1978.9e12,
    ),
    "A40": Hardware(
        149.7e12,
        696e9,
        "vidur",
        "Vidur MLP timings of the A40; attention as the default",
        ("A40", "A10", "A6000", "RTXA6000", "RTX3090", "RTX3080"),
    ),
    "RTX4090": Hardware(
        165.2e12,
        1008e9,
        "layers",
        "vLLM 0.19 layer timings of the RTX 4090",
        ("RTX4090", "4090"),
    ),
    "RTXPRO6000": Hardware(
        503.8e12,
        1792e9,
        "layers",
        "vLLM 0.19 layer timings of the RTX PRO 6000",
        ("RTXPRO6000",),
    ),
}
"""Devices with timings. `applies_to` adds devices with the same chip family."""


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
