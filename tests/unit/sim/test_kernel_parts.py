"""Each small mechanism of the kernel against the obvious way to do the same."""

from __future__ import annotations

import heapq

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from servetwin.cache.kernel.compile import from_python
from servetwin.results.gaps import bin_of as defined_bin_of
from servetwin.sim.kernel import blocks, cost, gaps, heap, jump, tree
from servetwin.sim.kernel.records import REPLICA
from servetwin.sim.kernel.state import FOREVER
from servetwin.sim.reference.cost import window_pairs
from servetwin.sim.routing import SplitMix
from servetwin.types.result import TokenGaps

bin_of = from_python(gaps.bin_of)
count_series = from_python(gaps.count_series)
compiled_pairs = from_python(cost.window_pairs)
growth = from_python(blocks.growth)
steps_that_fit = from_python(blocks.steps_that_fit)
push = from_python(heap.push)
pop = from_python(heap.pop)
set_time = from_python(tree.set_time)
soonest = from_python(tree.soonest)
boundaries_by = from_python(jump.boundaries_by)


@given(st.integers(0, 2**62))
def test_bins_follow_the_definition(gap: int) -> None:
    assert bin_of(gap) == defined_bin_of(gap)


@given(
    st.one_of(st.integers(1, 3000), st.integers(2**52, 2**60)),
    st.integers(1, 10**6),
    st.integers(1, 300),
)
def test_a_series_is_counted_like_its_terms(first: int, step: int, length: int) -> None:
    counts = np.zeros(TokenGaps.BINS, np.int64)
    count_series(counts, first, step, length, 3)
    expected = np.zeros_like(counts)
    for index in range(length):
        expected[defined_bin_of(first + step * index)] += 3
    np.testing.assert_array_equal(counts, expected)


@given(st.integers(1, 50), st.integers(0, 60), st.integers(1, 40))
def test_window_pairs_sum_over_queries(tokens: int, done: int, window: int) -> None:
    expected = sum(min(2 * q + 1, 2 * window - 1) for q in range(done, done + tokens))
    assert compiled_pairs(tokens, done, window) == expected
    assert window_pairs(tokens, done, window) == expected


@given(
    st.sampled_from([1, 3, 16]),
    st.lists(st.integers(0, 5), min_size=16, max_size=16),
    st.integers(0, 1000),
    st.integers(0, 60),
    st.integers(0, 200),
)
def test_block_growth(size: int, counts: list[int], plan: int, steps: int, free: int) -> None:
    phases = np.array(counts[:size], np.int32)
    batch = max(1, int(phases.sum()))
    phases[0] += batch - int(phases.sum())
    shift = size.bit_length() - 1 if size & (size - 1) == 0 else -1
    settings = np.array([(size, shift)], [("block_size", "i8"), ("shift", "i8")])[0]
    needs = [int(phases[(plan + index) % size]) for index in range(steps)]
    fitting = sum(1 for upto in range(1, steps + 1) if sum(needs[:upto]) <= free)
    assert growth(settings, phases, batch, plan, steps) == sum(needs)
    assert steps_that_fit(settings, phases, batch, plan, steps, free) == fitting


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 1000)), max_size=60), st.data())
def test_heap_pops_in_order(pairs: list[tuple[int, int]], data: st.DataObject) -> None:
    times, requests = np.zeros(64, np.int64), np.zeros(64, np.int32)
    expected: list[tuple[int, int]] = []
    for time, request in pairs:
        push(times, requests, len(expected), time, request)
        heapq.heappush(expected, (time, request))
        if data.draw(st.booleans()):
            assert (times[0], requests[0]) == expected[0]
            pop(times, requests, len(expected))
            heapq.heappop(expected)
    while expected:
        assert (times[0], requests[0]) == expected[0]
        pop(times, requests, len(expected))
        heapq.heappop(expected)


@given(st.integers(1, 9), st.lists(st.tuples(st.integers(0, 8), st.integers(0, 5)), max_size=40))
def test_tree_names_the_first_of_the_soonest(count: int, updates: list[tuple[int, int]]) -> None:
    leaves = 1 << (count - 1).bit_length()
    times = np.full(2 * leaves, FOREVER, np.int64)
    plain = [int(FOREVER)] * count
    for replica, time in updates:
        plain[replica % count] = time
        set_time(times, leaves, replica % count, time)
        assert times[1] == min(plain)
        assert soonest(times, leaves) == plain.index(min(plain))


@given(
    st.integers(0, 10**6),
    st.integers(0, 10**13),
    st.integers(1, 10**13),
    st.integers(0, 10**9),
    st.integers(1, 10**5),
    st.floats(0, 1),
)
def test_boundaries_by_a_time(
    now: int, first: int, second: int, growth: int, steps: int, share: float
) -> None:
    record = np.zeros(1, REPLICA)
    values = {"now": now, "first": first, "second": second, "growth": growth}
    for name, value in values.items():
        record[name] = value
    rep = record[0]

    def boundary(count: int) -> int:
        further = count - 1
        gone = first + further * second + growth * further * (further - 1) // 2
        return now + (gone if count else 0)

    for time in (int(now + share * (boundary(steps) - now)), boundary(steps), boundary(steps) - 1):
        found = int(boundaries_by(rep, time, steps))
        assert found == 0 or boundary(found) <= time
        assert found == steps or boundary(found + 1) > time


def test_splitmix_gives_the_published_numbers() -> None:
    """First outputs for seed 1234567 of the reference implementation (Vigna, splitmix64.c)."""
    random = SplitMix(1234567)
    drawn = [random.below(1 << 64) for _ in range(3)]
    assert drawn == [6457827717110365317, 3203168211198807973, 9817491932198370423]
