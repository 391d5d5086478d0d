"""What a lone request does to one device: arithmetic, memory traffic, and the cache it holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from servetwin.catalog import count_parameters
from servetwin.cost.dtypes import peak_flops
from servetwin.cost.memory import layer_caches
from servetwin.cost.stages import stage_share
from servetwin.sim.closed_form.model import CacheSize
from servetwin.types import AttentionKind, CostModel, Deployment

__all__ = ["Traffic", "cache_size", "pairs_seen", "traffic_of"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Traffic:
    """Arithmetic and memory traffic of one device, beside what it could do in a picosecond."""

    flops_per_ps: float
    bytes_per_ps: float
    token_flops: float
    pair_flops: float
    """Of one query token with one key token, in all layers without a window."""
    near_pair_flops: float
    """The same in all layers with a window, of a key within it."""
    weight_bytes: float
    """That one token touches."""
    cache: CacheSize

    def share(
        self, tokens: Floats, pairs: tuple[Floats, Floats], read: Floats, time: Floats
    ) -> Floats:
        """Utilisation of what bounds the work: arithmetic or memory, at most 1.

        `pairs` are those of a layer without and with a window; `read` is the length of the
        sequence whose cache is read.
        """
        flops = tokens * self.token_flops
        flops = flops + pairs[0] * self.pair_flops + pairs[1] * self.near_pair_flops
        memory = (self.weight_bytes + self.cache.of(read)) / self.bytes_per_ps
        arithmetic = flops / self.flops_per_ps
        return np.asarray(np.minimum(1.0, np.maximum(arithmetic, memory) / np.maximum(time, 1.0)))

    def step_pairs(self, context: Floats) -> tuple[Floats, Floats]:
        """Pairs of one new token behind `context` tokens, itself among them."""
        return context, np.minimum(context, self.cache.window)

    def prompt_pairs(self, tokens: Floats, known: Floats) -> tuple[Floats, Floats]:
        """Pairs of a prompt of `tokens`, of which `known` are cached; half its square."""
        window = self.cache.window
        near = pairs_seen(tokens, window) - pairs_seen(known, window)
        return (tokens * tokens - known * known) / 2, near


def pairs_seen(tokens: Floats, window: int) -> Floats:
    """Query-key pairs of a prompt where each token sees at most `window`; diagonals are halved."""
    inside = np.minimum(tokens, window)
    return inside * inside / 2 + (tokens - inside) * window


def traffic_of(deployment: Deployment, cost: CostModel) -> Traffic:
    """What one token moves and computes on one of the engine's devices."""
    model, gpu = deployment.model, deployment.accelerator
    devices = deployment.parallelism.tp * deployment.parallelism.pp
    counted = count_parameters(model)
    near = model.layers_of(AttentionKind.SLIDING)
    far = model.layers - near - model.layers_of(AttentionKind.LINEAR)
    pair = 4.0 * model.heads * model.head_dim / devices
    return Traffic(
        flops_per_ps=peak_flops(gpu, "bf16") * 1e-12,
        bytes_per_ps=gpu.bandwidth * 1e-12,
        token_flops=2.0 * counted.active / devices,
        pair_flops=far * pair,
        near_pair_flops=near * pair,
        weight_bytes=cost.memory.weights * counted.active / counted.total,
        cache=cache_size(deployment),
    )


def cache_size(deployment: Deployment) -> CacheSize:
    """What one sequence keeps on the fullest device, by the kinds of layers of the model."""
    caches = layer_caches(
        deployment.model, deployment.settings.kv_cache_dtype, deployment.parallelism.tp
    )
    share = stage_share(deployment)
    return CacheSize(
        token=share * sum(c.layers * c.token_bytes for c in caches if not c.window),
        near_token=share * sum(c.layers * c.token_bytes for c in caches if c.window),
        window=max((c.window for c in caches), default=0),
        sequence=share * sum(c.layers * c.sequence_bytes for c in caches),
    )
