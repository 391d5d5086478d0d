"""How fast block references pass through the policies of the prefix cache.

References per second of CPU time of one thread, best of three. The trace grows by
conversations: turns that extend what was said before, behind thirty shared prompts. It has
ten million references (a tenth with `--quick`), its ids are dense already, and the capacity
is such that about half of the references hit.
"""

from __future__ import annotations

import time

import numpy as np

from benchmarks.figures import Figure, at_least
from servetwin.cache import BlockTrace, replay

__all__ = ["conversations", "measure"]

CAPACITY = 50_000
GOALS = {
    "trace-lru": 25.0,
    "vllm-lru": 10.0,
    "fifo": 2.0,
    "lfu": 2.0,
    "s3-fifo": 10.0,
    "flop-aware": 5.0,
    "belady": 10.0,
}
"""Millions of references a second."""


def conversations(references: int, seed: int = 1) -> BlockTrace:
    """Make requests until they refer to so many blocks."""
    random = np.random.default_rng(seed)
    shared = [np.arange(4 * prompt, 4 * prompt + 4) for prompt in range(30)]
    following, total = 120, 0
    open_ones: list[np.ndarray] = []
    requests: list[np.ndarray] = []
    while total < references:
        fresh = int(random.geometric(1 / 8))
        place = -1
        if open_ones and random.random() < 0.6:
            place = len(open_ones) - 1 - int(random.integers(min(len(open_ones), 5000)))
            before = open_ones[place]
        else:
            before = shared[min(int(random.zipf(1.5)), 30) - 1]
        request = np.concatenate([before, np.arange(following, following + fresh)])
        following += fresh
        total += request.size
        requests.append(request)
        if place < 0:
            open_ones.append(request)
        elif request.size < 120:
            open_ones[place] = request
    counts = np.array([request.size for request in requests])
    return BlockTrace(
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        ids=np.concatenate(requests).astype(np.int32),
        distinct=following,
        block_tokens=16,
        input_tokens=(counts * 16).astype(np.int32),
    )


def _rate(trace: BlockTrace, policy: str) -> float:
    best = float("inf")
    for _ in range(3):
        start = time.thread_time()
        replay(trace, CAPACITY, policy)
        best = min(best, time.thread_time() - start)
    return trace.references / best


def measure(quick: bool) -> list[Figure]:
    """The rate of every policy; `quick` uses a tenth of the references."""
    trace = conversations(1_000_000 if quick else 10_000_000)
    return [
        at_least(f"prefix cache, {policy}", _rate(trace, policy) / 1e6, goal, "M ref/s")
        for policy, goal in GOALS.items()
    ]
