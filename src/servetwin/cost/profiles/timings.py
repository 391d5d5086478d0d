"""What every source of timings becomes: seconds of one layer's operations, by shape.

All figures are of one device, one layer, and one degree of tensor parallelism.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["AttentionTimings", "Curve", "ExpertTimings", "LayerTimings", "SkewTimings"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """Seconds of one operation at some sizes (tokens, or sequences), in ascending order."""

    sizes: Floats
    seconds: Floats

    @property
    def end(self) -> float:
        """Largest size that was timed."""
        return float(self.sizes[-1])

    def at(self, sizes: Floats) -> Floats:
        """Interpolate in log space; the ends hold outside of the timed sizes."""
        logs = np.interp(np.log(sizes), np.log(self.sizes), np.log(self.seconds))
        return np.asarray(np.exp(logs))


@dataclass(frozen=True)
class AttentionTimings:
    """Attention over full grids: a prompt chunk, decodes, and both in one call.

    Between the points of a grid time is affine in every coordinate, as arithmetic and
    memory traffic are, and beyond its end the last segment continues, for the same reason.
    """

    chunks: Floats
    """Tokens of the chunk, at least 1, ascending."""
    done: Floats
    """Tokens computed before the chunk, from 0."""
    decodes: Floats
    """Sequences that decode, from 1."""
    contexts: Floats
    """Tokens that each of them reads."""
    prefill: Floats
    """Seconds, shape (chunks, done)."""
    decode: Floats
    """Seconds, shape (decodes, contexts)."""
    mixed: Floats | None = None
    """Seconds, shape (chunks, done, mixed_decodes, contexts); None where nobody timed it."""
    mixed_decodes: Floats | None = None


@dataclass(frozen=True)
class ExpertTimings:
    """Routed experts: seconds by tokens and distinct experts reached, a full grid.

    A device that holds every `slices`-th expert of a layer reaches them with as many fewer
    token-expert pairs.
    """

    tokens: Floats
    active: Floats
    seconds: Floats
    per_token: int
    """Experts that each token was sent to."""

    def at(self, tokens: Floats, active: Floats) -> Floats:
        """Interpolate in log space; the ends hold outside of the grid."""
        rows = _places(np.log(self.tokens), np.log(tokens))
        columns = _places(np.log(self.active), np.log(np.maximum(active, 1.0)))
        values = np.log(self.seconds)
        (low, share), (left, part) = rows, columns
        upper = values[low, left] * (1 - part) + values[low, left + 1] * part
        lower = values[low + 1, left] * (1 - part) + values[low + 1, left + 1] * part
        return np.asarray(np.exp(upper * (1 - share) + lower * share))


@dataclass(frozen=True)
class SkewTimings:
    """How much longer decode attention takes where contexts differ.

    With `mean` and `longest` for the times of batches in which every context is the mean
    or the longest one, a mixture takes `mean + share * (longest - mean)`.
    """

    share: float


@dataclass(frozen=True)
class LayerTimings:
    """One model on one device at one degree of tensor parallelism."""

    source: str
    """Provenance in words: device, engine and version, folder."""
    dense: Mapping[str, Curve]
    """By tokens: qkv, attention_out, mlp_up, mlp_down and router, or all of them as gemms;
    rotary, activation, residual, kv_write and qk_norm (once a layer), norm (as often as the
    model has them), all_reduce (twice a layer), embedding and final_norm (once in all)."""
    sampled: Mapping[str, Curve]
    """By sampled sequences: head and sampler."""
    attention: AttentionTimings | None = None
    experts: ExpertTimings | None = None
    skew: SkewTimings | None = None
    host: Curve | None = None
    """By sequences: what the host does once an iteration while the device waits."""
    graphs: bool = True
    """Whether kernels alone were timed, as CUDA graphs run them. Otherwise launches count,
    no batch is padded, and the host cannot work ahead, since it is the device."""
    notes: tuple[str, ...] = field(default_factory=tuple)


def _places(knots: Floats, values: Floats) -> tuple[NDArray[np.intp], Floats]:
    """Cell of each value among ascending knots, and its share of the way through it."""
    clipped = np.clip(values, knots[0], knots[-1])
    low = np.clip(np.searchsorted(knots, clipped, side="right") - 1, 0, knots.size - 2)
    return low, np.asarray((clipped - knots[low]) / (knots[low + 1] - knots[low]))
