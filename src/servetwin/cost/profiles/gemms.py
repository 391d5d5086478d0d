"""GEMM timings of some shapes -> those of any shape on the same device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from servetwin.cost.curves import curves_for
from servetwin.cost.linear import arithmetic
from servetwin.cost.profiles.timings import Curve
from servetwin.cost.shapes import Gemm, attention_gemms, head_gemm, mlp_gemms, router_gemm
from servetwin.types import Deployment

__all__ = ["GemmTimings", "Roofline", "layer_curves", "predicted", "roofline_of"]

Floats = NDArray[np.float64]
Roofline = Callable[[Floats, Floats, Floats], Floats]
"""Rows, n and k -> seconds of the roofline with its fitted efficiency."""

NEIGHBOURS = 60
SMOOTHING = 0.5
ROW_WEIGHT = 4.0
"""How much farther apart a doubling of the rows is than one of n or k: curves over rows have
steps, those over shapes hardly do."""

MULTIPROCESSORS = {
    "A100-80GB": 108,
    "A40": 84,
    "H100-SXM": 132,
    "RTX-4090": 128,
    "RTX-PRO-6000": 188,
}
"""Of the devices that GEMMs were timed on (NVIDIA's data sheets)."""
TILE = 128
"""Rows and columns of the result that one multiprocessor computes at a time, usually."""

COARSE = 3
WIDE = 1.05
"""Rows that are farther apart than this get others between them, from neighbouring shapes."""


@dataclass(frozen=True)
class GemmTimings:
    """Columns of equal length: `rows x k` times `k x n` took `seconds`."""

    rows: Floats
    n: Floats
    k: Floats
    seconds: Floats

    def where(self, keep: NDArray[np.bool_]) -> GemmTimings:
        return GemmTimings(self.rows[keep], self.n[keep], self.k[keep], self.seconds[keep])

    def of_shape(self, n: float, k: float) -> Curve | None:
        """The timings of one matrix by rows, where there are at least two."""
        mine = self.where((self.n == n) & (self.k == k))
        sizes, first = np.unique(mine.rows, return_index=True)
        return Curve(sizes, mine.seconds[first]) if sizes.size >= 2 else None


def predicted(timings: GemmTimings, wanted: GemmTimings, roofline: Roofline) -> Floats:
    """Seconds of the shapes of `wanted`, whose own seconds are not looked at.

    The ratio of measured time to roofline is interpolated between the nearest timed shapes,
    in the logarithms of rows, n and k (radial basis functions, slightly smoothed). Outside
    of the timed shapes the roofline extrapolates.
    """
    from scipy.interpolate import RBFInterpolator

    places, first = np.unique(_places(timings), axis=0, return_index=True)
    shape = timings.rows, timings.n, timings.k
    ratios = np.log(timings.seconds / roofline(*shape))[first]
    field = RBFInterpolator(
        places,
        ratios,
        neighbors=min(NEIGHBOURS, ratios.size),
        kernel="linear",
        smoothing=SMOOTHING,
    )
    low, high = places.min(axis=0), places.max(axis=0)
    ratio = field(np.clip(_places(wanted), low, high))
    return np.asarray(roofline(wanted.rows, wanted.n, wanted.k) * np.exp(ratio))


def _places(timings: GemmTimings) -> Floats:
    logs = np.log2(np.stack((timings.rows, timings.n, timings.k), axis=1))
    return np.asarray(logs * (ROW_WEIGHT, 1.0, 1.0))


def roofline_of(deployment: Deployment, *, quantized: bool = True) -> Roofline:
    """The derived cost of a GEMM on the device of a deployment, with the steps of its tiles.

    A multiprocessor computes one tile at a time, so time goes in steps of as many tiles as there
    are multiprocessors. Libraries choose among tiles and split `k`, which makes the steps lower:
    half of them, in logarithms, were closest on the A100 and the A40.
    """
    compute = arithmetic(deployment, curves_for(deployment.accelerator.name), quantized)
    parallel = MULTIPROCESSORS.get(deployment.accelerator.name)

    def seconds(rows: Floats, n: Floats, k: Floats) -> Floats:
        flops = 2.0 * (rows + compute.curve.half_rows) * n * k
        if parallel is not None:
            waves = np.ceil(np.ceil(rows / TILE) * np.ceil(n / TILE) / parallel)
            full = 2.0 * waves * parallel * TILE**2 * k
            flops = np.maximum(flops, np.sqrt(flops * full))
        moved = n * k * compute.element + 2.0 * rows * (n + k)
        return compute.curve.seconds(compute.roof, flops, moved)

    return seconds


def layer_curves(deployment: Deployment, timings: GemmTimings) -> tuple[Curve, Curve]:
    """All GEMMs of the mean layer by tokens, and the output head by sequences."""
    model, tp = deployment.model, deployment.parallelism.tp
    gemms = attention_gemms(model, tp) + mlp_gemms(model, tp)
    router = router_gemm(model)
    if router:
        gemms.append(router)
    sizes = _refined(np.unique(timings.rows))
    total = sum(gemm.layers * _seconds(deployment, timings, gemm, sizes) for gemm in gemms)
    head = _seconds(deployment, timings, head_gemm(model, tp), sizes)
    return Curve(sizes, np.asarray(total / model.layers)), Curve(sizes, head)


def _refined(sizes: Floats) -> Floats:
    """The sizes, and some between those that are far apart."""
    gaps = [np.geomspace(low, high, COARSE, endpoint=False) for low, high in pairwise(sizes)]
    wide = [gap if gap[1] / gap[0] > WIDE else gap[:1] for gap in gaps]
    return np.unique(np.append(np.rint(np.concatenate(wide)), sizes[-1]))


def _seconds(deployment: Deployment, timings: GemmTimings, gemm: Gemm, sizes: Floats) -> Floats:
    """Seconds of one matrix for all `sizes`; as timed where it was."""
    every = np.ones(sizes.size)
    wanted = GemmTimings(sizes, gemm.n * every, gemm.k * every, every)
    own = timings.of_shape(gemm.n, gemm.k)
    if own is not None and np.isin(sizes, own.sizes).all():
        return own.at(sizes)
    seconds = predicted(timings, wanted, roofline_of(deployment, quantized=gemm.quantized))
    if own is not None:
        seconds = np.where(np.isin(sizes, own.sizes), own.at(sizes), seconds)
    return seconds
