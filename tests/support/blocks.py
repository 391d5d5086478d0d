"""Random block traces, small enough to be replayed by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from servetwin.cache import BlockTrace

__all__ = ["chained_requests", "loose_requests", "trace_of"]

Requests = list[list[int]]


def trace_of(requests: Sequence[Sequence[int]], block_tokens: int = 16) -> BlockTrace:
    """A trace of requests whose ids are dense already."""
    counts = [len(request) for request in requests]
    ids = [id for request in requests for id in request]
    return BlockTrace(
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        ids=np.array(ids, dtype=np.int32),
        distinct=max(ids, default=-1) + 1,
        block_tokens=block_tokens,
        input_tokens=np.array([max(1, count * block_tokens) for count in counts], np.int32),
    )


@st.composite
def chained_requests(draw: st.DrawFn, most: int = 40, longest: int = 8) -> Requests:
    """Paths in a random forest: equal blocks stand behind equal prefixes."""
    random = np.random.default_rng(draw(st.integers(0, 2**31)))
    branches = draw(st.integers(2, 4))
    numbers: dict[tuple[int, ...], int] = {}
    requests = []
    for _ in range(draw(st.integers(most // 2, most))):
        length = int(random.integers(0, longest + 1))
        # Low branches are taken more often, so that prefixes are shared.
        path = tuple(np.minimum(random.geometric(0.5, length), branches).tolist())
        ends = [path[: end + 1] for end in range(length)]
        requests.append([numbers.setdefault(end, len(numbers)) for end in ends])
    return requests


@st.composite
def loose_requests(draw: st.DrawFn, most: int = 40) -> Requests:
    """Any ids in any order, repetitions within a request included."""
    ids = st.integers(0, draw(st.integers(2, 12)))
    found = draw(st.lists(st.lists(ids, max_size=8), min_size=most // 4, max_size=most))
    known = {id: number for number, id in enumerate(sorted({i for r in found for i in r}))}
    return [[known[id] for id in request] for request in found]
