"""Compiled policies give the plain ones' answers, and the published counts."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servetwin.cache import ENGINE_POLICIES, POLICIES, PolicyOptions, block_trace, reference, replay
from servetwin.cache.kernel import pool as kernel
from servetwin.cache.kernel.compile import from_python
from servetwin.cache.kernel.integrity import check_integrity
from servetwin.cache.policies import flop_bonus
from servetwin.workload import read, take
from support.blocks import chained_requests, loose_requests, trace_of

OPTIONS = st.builds(
    PolicyOptions,
    alpha=st.sampled_from([0.0, 0.3, 1.0, 20.0]),
    crossover_tokens=st.sampled_from([1.0, 64.0, 1e9]),
    small_share=st.sampled_from([0.1, 0.5, 0.9]),
)


@pytest.mark.parametrize("policy", POLICIES)
def test_replays_are_equal(policy: str, capsys: pytest.CaptureFixture[str]) -> None:
    seen: Counter[str] = Counter()
    drawn = chained_requests() if policy == "flop-aware" else chained_requests() | loose_requests()

    @settings(max_examples=150)
    @given(drawn, st.sampled_from([0.1, 0.2, 0.4, 0.6, 0.8, 1.1]), OPTIONS)
    def check(requests: list[list[int]], share: float, options: PolicyOptions) -> None:
        trace = trace_of(requests)
        capacity = 1 + int(share * trace.distinct)
        found = replay(trace, capacity, policy, options=options)
        room = min(capacity, max(trace.distinct, 1))
        hits, evictions = reference.replay(trace, room, policy, options)
        assert found.hit_blocks.tolist() == hits
        assert found.evictions == evictions
        seen["examples"] += 1
        seen["evicting"] += evictions > 0
        seen["hitting"] += sum(hits) > 0
        seen["longer than the cache"] += trace.longest > capacity

    check()
    with capsys.disabled():
        print(f"\n{policy}, compiled == plain: {dict(seen)}")
    assert seen["evicting"] >= 0.5 * seen["examples"]
    assert seen["hitting"] >= 0.5 * seen["examples"]
    assert seen["longer than the cache"] >= 0.1 * seen["examples"]


lookup, allocate, acquire, name, release = (
    from_python(function)
    for function in (kernel.lookup, kernel.allocate, kernel.acquire, kernel.name, kernel.release)
)


class Twin:
    """One cache, in both implementations, told the same; compared after every step."""

    def __init__(self, policy: str, capacity: int, caches: int, options: PolicyOptions) -> None:
        bonus = flop_bonus(5, capacity, 16, options)
        self.fast = kernel.make_pool(policy, capacity, 200, options, caches=caches, bonus=bonus)
        self.slow = [
            reference.make_pool(policy, capacity, options, [*bonus.tolist()] + [bonus[-1]] * 20)
            for _ in range(caches)
        ]
        self.running: list[list[list[Any]]] = [[] for _ in range(caches)]

    def start(self, r: int, path: list[int], filled: int) -> bool:
        """Admit a request that computes `filled` of its blocks; False where there is no room."""
        slow = self.slow[r]
        hits = reference.replays.leading(path, slow.known)
        taken = sum(slow.known[id].refs == 0 for id in path[:hits])
        if taken + len(path) - hits > slow.available:
            return False
        held: list[Any] = []
        for id in path[:hits]:
            number, block = int(lookup(self.fast, r, id)), slow.known[id]
            acquire(self.fast, r, number)
            slow.acquire(block)
            held.append((number, block))
        for depth in range(hits, len(path)):
            held.append((int(allocate(self.fast, r)), slow.allocate()))
            if depth < filled:
                parent = held[depth - 1] if depth else (-1, None)
                name(self.fast, r, held[depth][0], path[depth], depth, parent[0])
                slow.name(held[depth][1], path[depth], depth, parent[1])
        self.running[r].append(held)
        return True

    def end(self, r: int, which: int) -> None:
        """Let one of the running requests go."""
        held = self.running[r].pop(which % len(self.running[r]))
        for number, block in reversed(held):
            release(self.fast, r, number)
            slow = self.slow[r]
            slow.release(block)

    def compare(self) -> None:
        check_integrity(self.fast)
        for r, slow in enumerate(self.slow):
            slow.check_integrity()
            assert np.flatnonzero(self.fast.where[r] >= 0).tolist() == sorted(slow.known)
            assert int(self.fast.cache[r]["available"]) == slow.available
            assert int(self.fast.cache[r]["evictions"]) == slow.evictions


@pytest.mark.parametrize("policy", ENGINE_POLICIES)
def test_pools_shared_by_running_requests_are_equal(
    policy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Requests overlap, over several caches; their last blocks are never full."""
    seen: Counter[str] = Counter()

    @settings(max_examples=60)
    @given(
        chained_requests(most=80),
        st.integers(8, 20),
        st.integers(1, 3),
        OPTIONS,
        st.integers(0, 2**31),
    )
    def check(
        requests: list[list[int]], capacity: int, caches: int, options: PolicyOptions, seed: int
    ) -> None:
        random = np.random.default_rng(seed)
        twin = Twin(policy, capacity, caches, options)
        for path in requests:
            r = int(random.integers(caches))
            while not twin.start(r, path, len(path) - int(random.integers(2))):
                twin.end(r, int(random.integers(100)))
                twin.compare()
            twin.compare()
            seen["most at once"] = max(seen["most at once"], len(twin.running[r]))
        for r in range(caches):
            while twin.running[r]:
                twin.end(r, int(random.integers(100)))
                twin.compare()
            assert twin.slow[r].available == capacity
            seen["evictions"] += twin.slow[r].evictions

    check()
    with capsys.disabled():
        print(f"\n{policy}, pools shared: {dict(seen)}")
    assert seen["most at once"] >= 3
    assert seen["evictions"] > 1000


def test_the_published_counts(data_dir: Path) -> None:
    published = json.loads((data_dir / "reference" / "mooncake_lru_hits.json").read_text())
    trace = block_trace(read(data_dir / published["trace"]))
    assert trace.references == published["block_references"]
    for text, hits in published["hits_by_capacity_blocks"].items():
        capacity = None if text == "unbounded" else int(text)
        assert replay(trace, capacity, "trace-lru").hits == hits, text


@pytest.mark.parametrize("policy", POLICIES)
def test_real_traces_are_equal(data_dir: Path, policy: str) -> None:
    for name, requests in (("conversation_trace", 500), ("synthetic_trace", 300)):
        whole = read(data_dir / "traces" / "mooncake" / f"{name}.jsonl")
        trace = block_trace(take(whole, requests))
        found = replay(trace, 1000, policy)
        hits, evictions = reference.replay(trace, 1000, policy, PolicyOptions())
        assert found.hit_blocks.tolist() == hits
        assert found.evictions == evictions > 0
