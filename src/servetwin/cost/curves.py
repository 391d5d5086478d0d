"""Efficiency curves: how far kernels stay from the roofline of their device.

Every curve is a sum of physical terms with a few fitted coefficients. Each term grows with
the work, so a larger batch is never faster, and with the roof, so a faster device is never
slower. `tools/fit_efficiency.py` fits the coefficients and writes `data/efficiency.toml`;
`docs/background/cost.md` states the errors.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CollectiveCurve",
    "Curves",
    "DecodeCurve",
    "ElementwiseCurve",
    "GemmCurve",
    "HostCurve",
    "MixtureCurve",
    "PrefillCurve",
    "Roof",
    "SamplerCurve",
    "curves_for",
    "curves_from",
    "read_curves",
    "read_serving",
]

Floats = NDArray[np.float64]
US = 1e-6
VLLM = "vLLM"


@dataclass(frozen=True)
class Roof:
    """What the data sheet promises: FLOP/s and bytes/s."""

    flops: float
    bandwidth: float


@dataclass(frozen=True)
class GemmCurve:
    """`launch + |(flops/(peak*compute), bytes/(bandwidth*memory))|_sharpness`.

    A norm of high order is the sharp corner of the roofline, one of low order rounds it.
    `half_rows` more rows are computed than there are: tiles that are not full.
    """

    launch_us: float
    memory: float
    compute: float
    half_rows: float
    sharpness: float

    def seconds(self, roof: Roof, flops: Floats, moved: Floats) -> Floats:
        """Seconds of one kernel from its padded operations and the bytes it moves."""
        compute = flops / (roof.flops * self.compute)
        memory = moved / (roof.bandwidth * self.memory)
        high, low = np.maximum(compute, memory), np.minimum(compute, memory)
        norm = high * (1.0 + (low / high) ** self.sharpness) ** (1.0 / self.sharpness)
        return np.asarray(self.launch_us * US + norm)

    def matmul(self, roof: Roof, rows: Floats, n: float, k: float, element: float) -> Floats:
        """Seconds of `rows x k` times `k x n`; `element` is the bytes of one weight."""
        flops = 2.0 * (rows + self.half_rows) * n * k
        return self.seconds(roof, flops, n * k * element + 2.0 * rows * (n + k))


@dataclass(frozen=True)
class DecodeCurve:
    """One call: `launch`, plus `(context + extra_tokens) * kv_bytes / (bandwidth * memory)`
    for each sequence. `extra_tokens` stands for pages and tiles read in vain."""

    launch_us: float
    memory: float
    extra_tokens: float


@dataclass(frozen=True)
class PrefillCurve:
    """One call: `launch`, plus the operations of every query with its keys and `extra_keys`
    more at `peak * compute`. `extra_keys` stands for tiles on the causal diagonal."""

    launch_us: float
    compute: float
    extra_keys: float


@dataclass(frozen=True)
class ElementwiseCurve:
    """Norms, rotary embedding, activation: `launch + bytes / (bandwidth * memory)` each."""

    launch_us: float
    memory: float


@dataclass(frozen=True)
class MixtureCurve:
    """Grouped expert GEMMs: `launch` once, and rows wasted in each active expert's tile."""

    launch_us: float
    padding_rows: float


@dataclass(frozen=True)
class SamplerCurve:
    """Sampling: `launch`, and bytes moved for each logit."""

    launch_us: float
    bytes_per_logit: float


@dataclass(frozen=True)
class CollectiveCurve:
    """Collectives: a start-up, and the share of the link's bandwidth that they reach."""

    launch_us: float
    all_reduce: float
    send: float


@dataclass(frozen=True)
class HostCurve:
    """Time in which the device waits for the engine, for each iteration."""

    step_us: float
    """With scheduling overlapped."""
    blocking_us: float
    """More of it where planning does not overlap execution."""
    blocking_sequence_us: float
    """The same for each sequence that decodes."""
    operation_us: float = 0.0
    """To launch one operation of an iteration that is no CUDA graph."""


@dataclass(frozen=True)
class Curves:
    """Every curve that applies to one device."""

    name: str
    source: str
    gemm: GemmCurve
    gemm_fp8: GemmCurve
    decode: DecodeCurve
    prefill: PrefillCurve
    elementwise: ElementwiseCurve
    mixture: MixtureCurve
    sampler: SamplerCurve
    collective: CollectiveCurve
    host: HostCurve

    def gemm_for(self, dtype: str) -> GemmCurve:
        """Curve of a GEMM computed in `dtype`; 8 bits and fewer share one."""
        return self.gemm_fp8 if dtype in ("fp8", "fp4", "int8") else self.gemm


@cache
def read_curves() -> Mapping[str, Any]:
    """The packaged table of kernel timings as plain dictionaries."""
    return _read("efficiency.toml")


@cache
def read_serving() -> Mapping[str, Any]:
    """What was fitted to serving runs, and the same `without` one model or another.

    `compute`: the share of the peak that a family of chips reaches. `operation_us`: what the
    host of an engine takes to launch an operation. `frontend`: microseconds that a `request`
    and a `token` of its input take before the engine.
    """
    return _read("serving.toml")


def _read(name: str) -> Mapping[str, Any]:
    text = resources.files("servetwin.cost").joinpath(f"data/{name}").read_text("utf-8")
    return tomllib.loads(text)


@cache
def curves_for(accelerator: str, engine: str = VLLM) -> Curves:
    """Curves fitted to the accelerator of this name, else the default ones.

    `engine` says whose host launches operations; "" stands for one that takes no time for it.
    """
    return curves_from(read_curves(), accelerator, read_serving(), engine)


def curves_from(
    table: Mapping[str, Any], accelerator: str, serving: Mapping[str, Any], engine: str = VLLM
) -> Curves:
    """As `curves_for`, from tables laid out as the packaged ones (another fit)."""
    devices: Mapping[str, Any] = table["device"]
    chosen = _best_match(accelerator, devices) or "default"
    entry = {**devices["default"], **devices.get(chosen, {})}
    family = _best_match(accelerator, serving.get("compute", {}))
    reached = serving["compute"][family]["share"] if family else 1.0
    return Curves(
        name=chosen,
        source=str(entry["source"]),
        gemm=_scaled(GemmCurve(**entry["gemm"]), reached),
        gemm_fp8=_scaled(GemmCurve(**entry["gemm_fp8"]), reached),
        decode=DecodeCurve(**entry["decode"]),
        prefill=_scaled(PrefillCurve(**entry["prefill"]), reached),
        elementwise=ElementwiseCurve(**entry["elementwise"]),
        mixture=MixtureCurve(**table["mixture"]),
        sampler=SamplerCurve(**table["sampler"]),
        collective=CollectiveCurve(**table["collective"]),
        host=HostCurve(**table["host"], operation_us=_operation_us(serving, engine)),
    )


def _operation_us(serving: Mapping[str, Any], engine: str) -> float:
    """Of this engine's host, or of vLLM's where nobody measured it; "" is none in Python."""
    known = serving.get("operation_us", {})
    return float(known.get(engine, known.get(VLLM, 0.0))) if engine else 0.0


Computing = TypeVar("Computing", GemmCurve, PrefillCurve)


def _scaled(curve: Computing, share: float) -> Computing:
    """The curve of a chip that reaches only `share` of what the curve says of its peak."""
    return replace(curve, compute=curve.compute * share)


def _best_match(accelerator: str, devices: Mapping[str, Any]) -> str:
    """Entry whose `applies_to` names the start of the accelerator's name, longest first, or "".

    Spaces, dashes and case do not matter. "A40" must not claim an A4000, so the character
    after the match is no digit.
    """
    best, length = "", 0
    for name, entry in devices.items():
        for prefix in entry.get("applies_to", []):
            letters = [re.escape(letter) for letter in prefix if letter.isalnum()]
            pattern = r"[\s_-]*".join(letters) + r"(?!\d)"
            if len(letters) > length and re.match(pattern, accelerator, re.IGNORECASE):
                best, length = name, len(letters)
    return best
