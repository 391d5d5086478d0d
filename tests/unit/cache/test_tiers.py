"""KV tiers worked out by hand, and the choice between loading and recomputing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servetwin.cache.reference.tiers import Tiers
from servetwin.cache.tiers import LATEST, LONGEST, TierLimits, tier_limits
from servetwin.errors import InputError
from servetwin.types import KVTier

HOST = TierLimits("host", blocks=2, block_ps=10, latency_ps=3)
SSD = TierLimits("ssd", blocks=2, block_ps=100, latency_ps=50)


def test_writes_queue_and_are_readable_when_they_have_ended() -> None:
    tiers = Tiers([HOST])
    tiers.demote(1, now=0)
    tiers.demote(2, now=4)
    host = tiers.tiers[0]
    assert host.ready == {1: 13, 2: 23}
    assert tiers.find([1, 2], now=12) == []
    assert tiers.find([1, 2], now=13) == [host]
    assert tiers.find([1, 2], now=23) == [host, host]
    assert tiers.find([2, 7, 1], now=23) == [host]


def test_a_block_that_is_there_is_only_touched() -> None:
    tiers = Tiers([HOST])
    for id in (1, 2, 1):
        tiers.demote(id, now=0)
    host = tiers.tiers[0]
    assert (host.written, host.clean, host.write_free) == (2, 1, 20)
    tiers.demote(3, now=50)
    assert set(host.ready) == {1, 3}


def test_what_a_tier_has_no_room_for_goes_to_the_next() -> None:
    tiers = Tiers([HOST, SSD])
    for number, id in enumerate((1, 2, 3, 4, 5)):
        tiers.demote(id, now=1000 * number)
    host, ssd = tiers.tiers
    assert host.ready == {4: 3013, 5: 4013}
    assert ssd.ready == {2: 3150, 3: 4150}
    assert (ssd.written, ssd.pool.evictions) == (3, 1)
    tiers.check_integrity()


def test_a_load_waits_for_its_turn_and_takes_one_tier_after_the_other() -> None:
    tiers = Tiers([HOST, SSD])
    for id in (1, 2, 3):
        tiers.demote(id, now=0)
    sources = tiers.find([2, 1], now=500)
    assert [source.limits.name for source in sources] == ["host", "ssd"]
    assert tiers.load_time(sources, 500) == (10 + 3) + (100 + 50)
    assert tiers.load([2, 1], sources, 500) == 663
    # The host is free again when it has sent its block, the SSD likewise.
    assert [tier.read_free for tier in tiers.tiers] == [510, 613]
    assert tiers.load_time(sources, 505) == (5 + 10 + 3) + (613 - 523) + 100 + 50


def test_no_load_ends_when_it_begins() -> None:
    tiers = Tiers([TierLimits("instant", blocks=9, block_ps=0, latency_ps=0)])
    tiers.demote(1, now=5)
    sources = tiers.find([1], now=5)
    assert tiers.choose(sources, [1], now=5) == 0
    assert tiers.choose(sources, [2], now=5) == 1
    assert tiers.load([1], sources, now=5) == 6


def test_the_last_write_never_ends_after_the_clock() -> None:
    tiers = Tiers([TierLimits("slow", blocks=9, block_ps=LONGEST, latency_ps=5)])
    for id in range(4):
        tiers.demote(id, now=10)
    assert tiers.tiers[0].ready[3] == LATEST
    assert tiers.find([0], now=LATEST - 1) == tiers.tiers


@given(st.lists(st.booleans(), min_size=1, max_size=9), st.data())
def test_the_choice_is_the_best_of_all(nearest: list[bool], data: st.DataObject) -> None:
    tiers = Tiers([HOST, SSD])
    host, ssd = tiers.tiers
    host.read_free = data.draw(st.integers(0, 60))
    ssd.read_free = data.draw(st.integers(0, 300))
    sources = [host if near else ssd for near in nearest]
    steps = data.draw(st.lists(st.integers(0, 200), min_size=len(sources), max_size=len(sources)))
    recompute = [sum(steps[: k + 1]) for k in range(len(steps))]
    chosen = tiers.choose(sources, recompute, now=20)

    def duration(k: int) -> int:
        """Picoseconds until all is there when `k` blocks are loaded, and the others computed."""
        left = recompute[-1] - (recompute[k - 1] if k else 0)
        return left + (tiers.load_time(sources[:k], 20) if k else 0)

    best = min(duration(k) for k in range(len(sources) + 1))
    assert duration(chosen) == best
    assert all(duration(k) > best for k in range(chosen))
    assert host.declined + ssd.declined == len(sources) - chosen


def test_limits_count_blocks_and_leave_out_what_holds_none() -> None:
    tiers = [
        KVTier("none", 10**9, bandwidth=0.0),
        KVTier("tiny", 999, bandwidth=1e9),
        KVTier("host", 10_999, bandwidth=3e9, latency=1e-6),
        KVTier("empty", 0, bandwidth=1e9),
        KVTier("ssd", 50, bandwidth=1e9, in_blocks=True, policy="LFU"),
    ]
    assert tier_limits(tiers, 1000, 40) == (
        TierLimits("host", 10, 333_334, 1_000_000),
        TierLimits("ssd", 40, 1_000_000, 0, "lfu"),
    )
    slow = KVTier("slow", 10, bandwidth=5e-324, in_blocks=True)
    assert tier_limits([slow], 1000, 40)[0].block_ps == LONGEST


def test_a_tier_cannot_evict_by_what_a_block_stands_behind() -> None:
    with pytest.raises(InputError, match="cannot have policy flop-aware"):
        tier_limits([KVTier("host", 10, 1.0, policy="flop-aware")], 1, 10)
