"""The model `kavier`: the published formulas, mistakes included, to reproduce its results.

Prefill lasts a constant and two operations a parameter and token. A generated token lasts
the longer of its arithmetic and of reading the weights, whatever its context.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from servetwin.sim.closed_form.checks import check_clock
from servetwin.sim.closed_form.library import KavierGpu, KavierModel
from servetwin.sim.closed_form.model import CacheSize, Device, Phases, Requests
from servetwin.units import PS_PER_S

__all__ = ["Kavier"]

Ints = NDArray[np.int64]

COMPUTE_EFFICIENCY = 0.30
MEMORY_EFFICIENCY = 0.60
PREFILL_OVERHEAD_S = 0.025
STEADY_UTILISATION = 0.95
EDGE_UTILISATION = 0.5
EDGE_PS = PS_PER_S // 5
"""The first and last 0.2 s of a request run at `EDGE_UTILISATION`."""


class Kavier:
    """Kavier's formulas for one of its models on one of its GPUs.

    The time of one token is rounded to whole picoseconds once, so a sum over 10^9 tokens is
    within a millisecond of the formula in real numbers.
    """

    name = "kavier"
    max_tokens = 0

    def __init__(self, model: KavierModel, gpu: KavierGpu) -> None:
        arithmetic = 2.0 * model.active / (gpu.tflops * 1e12 * COMPUTE_EFFICIENCY)
        memory = model.bytes * model.active / (gpu.bandwidth_gb_s * 1e9 * MEMORY_EFFICIENCY)
        self.overhead = round(PREFILL_OVERHEAD_S * PS_PER_S)
        self.input_token = round(arithmetic * PS_PER_S)
        self.output_token = round(max(arithmetic, memory) * PS_PER_S)
        self.cache = CacheSize(model.kv_bytes_per_token)
        self.device = Device(
            name=gpu.name,
            memory=gpu.memory_gb * 1e9,
            memory_mib=int(gpu.memory_gb * 1024),
            capacity=float(gpu.cores * gpu.mhz),
        )
        self.config: dict[str, Any] = {"model": model.name, "gpu": gpu.name}
        self.source = "Kavier's published formulas and library, release 0.5.3"
        self.notes = _notes(model, gpu)

    def prefill(self, input_tokens: Ints) -> Ints:
        """`0.025 s + n * 2N / (FLOP/s * 0.30)`."""
        estimate = input_tokens.astype(np.float64) * self.input_token
        check_clock("prefill", estimate)
        return self.overhead + input_tokens * self.input_token

    def prefill_after_hit(self, input_tokens: Ints, shared_tokens: int) -> Ints:
        """Nothing: the original takes the whole prefill as free, however long the rest."""
        del shared_tokens
        return np.zeros(input_tokens.size, np.int64)

    def decode(self, input_tokens: Ints, output_tokens: Ints, kv_cache: bool = True) -> Ints:
        """`n * t` with the cache, `n (n + 1) / 2 * t` without; the input does not matter."""
        del input_tokens
        steps = output_tokens if kv_cache else output_tokens * (output_tokens + 1) >> 1
        check_clock("decode", steps.astype(np.float64) * self.output_token)
        return steps * self.output_token

    def phases(self, requests: Requests, kv_cache: bool = True) -> Phases:
        """0.5 in the first and last 0.2 s, 0.95 between."""
        del kv_cache
        whole = requests.prefill + requests.decode
        begin = np.full(whole.size, EDGE_PS)
        edge, steady = (
            np.full(whole.size, EDGE_UTILISATION),
            np.full(whole.size, STEADY_UTILISATION),
        )
        return Phases(begin, np.maximum(whole - EDGE_PS, begin), edge, steady, steady, edge)


def _notes(model: KavierModel, gpu: KavierGpu) -> tuple[str, ...]:
    notes = ["kavier: no queueing or batching; decode does not depend on the context"]
    weights = model.parameters * model.bytes / 1e9
    if weights > gpu.memory_gb:
        notes.append(
            f"the weights of {model.name} take {weights:.0f} GB, and {gpu.name} has "
            f"{gpu.memory_gb:g} GB: Kavier does not check this, a real engine would not start"
        )
    return tuple(notes)
