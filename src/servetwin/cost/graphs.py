"""CUDA graphs: an iteration of few tokens is padded to the next size that was captured."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["capture_sizes", "padded"]

Floats = NDArray[np.float64]


def capture_sizes(max_num_seqs: int, largest: int) -> NDArray[np.int64]:
    """Sizes that vLLM 0.19 captures, in tokens, up to `largest` and twice `max_num_seqs`."""
    end = min(2 * max_num_seqs, largest)
    sizes = [1, 2, 4, *range(8, 256, 8), *range(256, largest + 1, 16)]
    return np.array([size for size in sizes if size <= end], dtype=np.int64)


def padded(tokens: Floats, sizes: NDArray[np.int64]) -> Floats:
    """Tokens that are computed for `tokens` in the batch; as many where no graph is so large."""
    if not sizes.size:
        return tokens
    place = np.minimum(np.searchsorted(sizes, tokens), sizes.size - 1)
    return np.where(tokens <= sizes[-1], sizes[place], tokens)
