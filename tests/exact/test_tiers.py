"""Compiled KV tiers give the plain ones' answers, and lose no block."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servetwin.cache import PolicyOptions
from servetwin.cache.kernel import tiers as kernel
from servetwin.cache.kernel.compile import from_python
from servetwin.cache.reference.tiers import Tiers
from servetwin.cache.tiers import LATEST, TIER_POLICIES, TierLimits
from support.blocks import chained_requests, trace_of

demote, find, choose, load = (
    from_python(function) for function in (kernel.demote, kernel.find, kernel.choose, kernel.load)
)

ENGINES = 2
COUNTERS = ("write_free", "read_free", "written", "clean", "loaded", "declined")


@dataclass(frozen=True)
class Stack:
    """Drawn tiers, and the requests that use them."""

    limits: tuple[TierLimits, ...]
    requests: list[list[int]]
    options: PolicyOptions
    seed: int


@st.composite
def stacks(draw: st.DrawFn) -> Stack:
    count = draw(st.integers(1, 3))
    limits = tuple(
        TierLimits(
            name=f"tier{number}",
            blocks=draw(st.integers(1, 12)),
            block_ps=draw(st.sampled_from([0, 1, 1, 3, 3, 7, 7, 40, 40, LATEST])),
            latency_ps=draw(st.sampled_from([0, 5, 30])),
            policy=draw(st.sampled_from(TIER_POLICIES)),
        )
        for number in range(count)
    )
    share = draw(st.sampled_from([0.1, 0.5, 0.9]))
    return Stack(
        limits,
        draw(chained_requests(most=60)),
        PolicyOptions(small_share=share),
        draw(st.integers(0, 2**31)),
    )


class Twin:
    """The tiers of two engines, in both implementations, told the same."""

    def __init__(self, stack: Stack) -> None:
        trace = trace_of(stack.requests)
        self.ids, self.offsets = trace.ids, trace.offsets
        self.fast = kernel.make_tiers(
            stack.limits, ENGINES, trace.distinct, trace.longest, stack.options
        )
        self.slow = [Tiers(stack.limits, stack.options) for _ in range(ENGINES)]
        self.random = np.random.default_rng(stack.seed)
        self.seen: Counter[str] = Counter()

    def demote(self, e: int, request: int, now: int) -> None:
        """HBM evicts the end of a request, the last block first."""
        ids = self.ids[self.offsets[request] : self.offsets[request + 1]].tolist()
        for id in reversed(ids[int(self.random.integers(len(ids) + 1)) // 2 :]):
            demote(self.fast, e, id, now)
            self.slow[e].demote(id, now)

    def fetch(self, e: int, request: int, now: int) -> None:
        """A request finds blocks behind those that hit, and loads what is worth it."""
        first, last = int(self.offsets[request]), int(self.offsets[request + 1])
        first += int(self.random.integers(last - first + 1)) // 2
        found = int(find(self.fast, e, self.ids, first, last, now))
        sources = self.slow[e].find(self.ids[first:last].tolist(), now)
        assert self.fast.source[:found].tolist() == [
            self.slow[e].tiers.index(source) for source in sources
        ]
        step = int(self.random.choice([0, 3, 20, 200]))
        price = np.cumsum(self.random.integers(0, 2 * step + 1, found))
        self.fast.recompute[:found] = price
        chosen = int(choose(self.fast, e, found, now))
        assert chosen == self.slow[e].choose(sources, price.tolist(), now)
        self.seen["found"] += found
        self.seen["loaded"] += chosen
        self.seen["partly loaded"] += 0 < chosen < found
        self.seen["from several tiers"] += len(set(self.fast.source[:chosen].tolist())) > 1
        if chosen:
            ids = self.ids[first : first + chosen].tolist()
            promised = self.slow[e].load_time(sources[:chosen], now)
            end = self.slow[e].load(ids, sources[:chosen], now)
            assert end == now + promised <= now + price[chosen - 1]
            assert load(self.fast, e, self.ids, first, chosen, now) == end

    def compare(self) -> None:
        kernel.check_integrity(self.fast)
        pool = self.fast.pool
        for e, slow in enumerate(self.slow):
            slow.check_integrity()
            for t, tier in enumerate(slow.tiers):
                where = pool.where[e * len(slow.tiers) + t]
                known = np.flatnonzero(where >= 0)
                ready = self.fast.ready[where[known]].tolist()
                assert dict(zip(known.tolist(), ready, strict=True)) == tier.ready
                for name in COUNTERS:
                    assert self.fast.tier[e, t][name] == getattr(tier, name), name


def test_compiled_tiers_equal_the_plain_ones(capsys: pytest.CaptureFixture[str]) -> None:
    seen: Counter[str] = Counter()

    @settings(max_examples=150)
    @given(stacks())
    def check(stack: Stack) -> None:
        twin, now = Twin(stack), 0
        for _ in range(3):
            for request in range(len(stack.requests)):
                e = int(twin.random.integers(ENGINES))
                now += int(twin.random.choice([0, 1, 20, 200]))
                if twin.random.random() < 0.5:
                    twin.demote(e, request, now)
                else:
                    twin.fetch(e, request, now)
                twin.compare()
        seen.update(twin.seen)
        seen["examples"] += 1
        for slow in twin.slow:
            seen["written"] += sum(tier.written for tier in slow.tiers)
            seen["clean"] += sum(tier.clean for tier in slow.tiers)
            seen["declined"] += sum(tier.declined for tier in slow.tiers)
            seen["cascaded"] += sum(tier.written + tier.clean for tier in slow.tiers[1:])
            seen["gone for good"] += slow.tiers[-1].pool.evictions

    check()
    with capsys.disabled():
        print(f"\ntiers, compiled == plain: {dict(seen)}")
    for what in ("loaded", "declined", "clean", "cascaded", "gone for good"):
        assert seen[what] > 1000, what
    assert seen["partly loaded"] > 15
    assert seen["from several tiers"] > 30
