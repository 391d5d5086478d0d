"""CUDA graphs: an iteration of few tokens is padded to the next size that was captured."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from servetwin.cost.ranks import rank_limits
from servetwin.types import Deployment

__all__ = ["capture_sizes", "graph_sizes", "padded"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

USUAL = 512


def graph_sizes(deployment: Deployment) -> Ints:
    """Sizes that one rank of an engine captures, in tokens; none without graphs.

    By vLLM 0.19's rule up to 512, or what twice `max_num_seqs` sequences decode in one iteration;
    a size that is given goes up to `max_num_batched_tokens`.
    """
    settings, limits = deployment.settings, rank_limits(deployment)
    given = settings.max_cudagraph_capture_size
    if given is not None:
        return capture_sizes(min(given, limits.max_num_batched_tokens))
    decoded = limits.max_num_seqs * (1 + settings.speculative_tokens)
    return capture_sizes(min(USUAL, 2 * decoded))


def capture_sizes(largest: int) -> Ints:
    """Sizes that vLLM 0.19 captures, in tokens, up to `largest`."""
    sizes = [1, 2, 4, *range(8, 256, 8), *range(256, largest + 1, 16)]
    return np.array([size for size in sizes if size <= largest], dtype=np.int64)


def padded(tokens: Floats, sizes: Ints) -> Floats:
    """Tokens that are computed for `tokens` in the batch; as many where no graph is so large."""
    if not sizes.size:
        return tokens
    place = np.minimum(np.searchsorted(sizes, tokens), sizes.size - 1)
    return np.where(tokens <= sizes[-1], sizes[place], tokens)
