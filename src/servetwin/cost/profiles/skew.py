"""Contexts of a batch differ; how far, follows from the lengths of the workload."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from servetwin.cost.profiles.attention import decode_seconds
from servetwin.cost.profiles.timings import AttentionTimings, SkewTimings

__all__ = ["Contexts", "contexts_of", "longer_by_skew"]

Floats = NDArray[np.float64]
QUANTILES = 512


@dataclass(frozen=True)
class Contexts:
    """Contexts of sequences seen at a random decode step: quantiles, evenly spaced."""

    tokens: Floats

    @property
    def mean(self) -> float:
        return float(self.tokens.mean())

    def longest_of(self, batch: NDArray[np.int64]) -> Floats:
        """Expected longest context among as many independent sequences as `batch` says."""
        edges = np.arange(self.tokens.size + 1) / self.tokens.size
        below = edges[None, :] ** batch[:, None]
        return np.asarray(np.diff(below, axis=1) @ self.tokens)


def contexts_of(input_tokens: NDArray[np.integer], output_tokens: NDArray[np.integer]) -> Contexts:
    """Contexts of these requests: each is seen once for every token it generates.

    Its context then lies anywhere between its input and its whole length.
    """
    inputs, outputs = (np.asarray(column, np.float64) for column in (input_tokens, output_tokens))
    stages = (np.arange(16) + 0.5) / 16
    seen = (inputs[:, None] + outputs[:, None] * stages).ravel()
    weight = np.repeat(outputs, stages.size)
    order = np.argsort(seen, kind="stable")
    ranks = np.cumsum(weight[order]) / weight.sum()
    wanted = (np.arange(QUANTILES) + 0.5) / QUANTILES
    return Contexts(seen[order][np.minimum(np.searchsorted(ranks, wanted), seen.size - 1)])


def longer_by_skew(
    timings: AttentionTimings, skew: SkewTimings, contexts: Contexts, sequences: int
) -> Floats:
    """Factor on decode attention for each batch from 1 to `sequences`, at the mean context."""
    batch = np.arange(1, sequences + 1)
    many = batch.astype(np.float64)
    mean = decode_seconds(timings, many, np.array(contexts.mean))
    longest = decode_seconds(timings, many, contexts.longest_of(batch))
    return np.asarray(1.0 + skew.share * np.maximum(longest / mean - 1.0, 0.0))
