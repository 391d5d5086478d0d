"""What each policy does, on traces that can be followed by hand, and what holds on any."""

from __future__ import annotations

import subprocess
import sys
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servetwin.cache import (
    POLICIES,
    Block,
    EvictionPolicy,
    PolicyOptions,
    check_policy,
    replay,
)
from servetwin.cache.policies import flop_bonus
from servetwin.errors import InputError
from support.blocks import chained_requests, loose_requests, trace_of

Requests = list[list[int]]


def hits(requests: Requests, capacity: int | None, policy: str, **options: float) -> list[int]:
    found = replay(trace_of(requests), capacity, policy, options=PolicyOptions(**options))
    counts: list[int] = found.hit_blocks.tolist()
    return counts


A, B, C, D, E = range(5)


def test_trace_lru_evicts_the_beginning_of_a_prefix_first() -> None:
    """After the first request B and C remain, but A, which they stand behind, is gone."""
    assert hits([[A, B, C], [A, B, C]], 2, "trace-lru") == [0, 0]
    assert hits([[A, B, C], [B, C]], 2, "trace-lru") == [0, 2]


def test_trace_lru_holds_more_while_a_request_lasts() -> None:
    """C is still there when the second request asks for it, though D and E come before it."""
    requests = [[C], [D, E, C], [C]]
    assert hits(requests, 1, "trace-lru") == [0, 0, 1]


def test_vllm_lru_evicts_the_end_of_a_prefix_first() -> None:
    assert hits([[A, B, C], [D], [A, B, C]], 3, "vllm-lru") == [0, 0, 2]
    assert hits([[A, B, C], [D], [A, B, C]], 3, "trace-lru") == [0, 0, 0]


def test_vllm_lru_keeps_the_beginning_of_a_request_that_does_not_fit() -> None:
    assert hits([[A, B, C], [A, B, C]], 2, "vllm-lru") == [0, 2]


def test_fifo_does_not_care_for_use() -> None:
    requests = [[A], [B], [A], [C], [A], [B]]
    assert hits(requests, 2, "fifo") == [0, 0, 1, 0, 0, 0]
    assert hits(requests, 2, "vllm-lru") == [0, 0, 1, 0, 1, 0]


def test_lfu_keeps_what_is_used_often() -> None:
    requests = [[A], [A], [A], [B], [C], [A]]
    assert hits(requests, 2, "lfu") == [0, 1, 1, 0, 0, 1]
    assert hits(requests, 2, "vllm-lru") == [0, 1, 1, 0, 0, 0]


def test_lfu_ages() -> None:
    """A was used four times, long ago; each eviction lifts what comes after."""
    others = [[id] for id in (B, C, B, C, B, C, B, C)]
    assert hits([[A]] * 4 + others + [[A]], 2, "lfu")[-1] == 0
    assert hits([[A]] * 4 + others[:4] + [[A]], 2, "lfu")[-1] == 1


def test_s3_fifo_lets_a_scan_pass() -> None:
    """A and B are used three times, then twenty others once: they pass through the small queue."""
    scan = [[id] for id in range(2, 22)]
    requests = [[A], [B]] * 3 + scan + [[A], [B]]
    assert hits(requests, 10, "s3-fifo")[-2:] == [1, 1]
    assert hits(requests, 10, "vllm-lru")[-2:] == [0, 0]
    assert hits(requests, 10, "fifo")[-2:] == [0, 0]


def test_s3_fifo_remembers_ghosts() -> None:
    """A leaves the small queue, comes back while a ghost, and then outlives a scan in main."""
    requests = [[A], *([id] for id in range(1, 12)), [A], *([id] for id in range(12, 40)), [A]]
    found = hits(requests, 10, "s3-fifo")
    assert found[12] == 0
    assert found[-1] == 1


def test_flop_aware_keeps_what_was_dear_to_compute() -> None:
    """The prefix of four blocks is older, but its end stands behind more tokens."""
    requests = [[A, B, C, D], [4], [5], [A, B, C, D]]
    options = {"crossover_tokens": 16.0}
    assert hits(requests, 5, "flop-aware", alpha=0.0, **options) == [0, 0, 0, 3]
    assert hits(requests, 5, "flop-aware", alpha=2.0, **options) == [0, 0, 0, 4]


def test_the_bonus_grows_with_depth_as_attention_does() -> None:
    bonus = flop_bonus(3, 1000, 100, PolicyOptions(alpha=2.0, crossover_tokens=100.0))
    # 1 + (d + 1/2) * 100 / 100, as a share of that at d = 2, times 2 * 1000
    assert bonus.tolist() == [int(2000 * x / 3.5) for x in (1.5, 2.5, 3.5)]
    assert flop_bonus(3, 1000, 100, PolicyOptions(alpha=0.0)).tolist() == [0, 0, 0]


def test_belady_keeps_what_is_needed_soonest() -> None:
    requests = [[A], [B], [C], [B], [A], [C]]
    assert hits(requests, 2, "belady") == [0, 0, 0, 1, 1, 0]


@settings(max_examples=100)
@given(chained_requests(), st.integers(1, 20))
def test_nothing_hits_more_than_belady(requests: Requests, capacity: int) -> None:
    most = sum(hits(requests, capacity, "belady"))
    for policy in POLICIES:
        assert sum(hits(requests, capacity, policy)) <= most, policy


@settings(max_examples=60)
@given(chained_requests(most=8, longest=4), st.integers(1, 3))
def test_belady_is_the_best_of_all_that_could_be_done(requests: Requests, capacity: int) -> None:
    """Against every choice of what to keep after each request."""
    best: dict[frozenset[int], int] = {frozenset(): 0}
    for request in requests:
        after: dict[frozenset[int], int] = {}
        for cached, so_far in best.items():
            gained = next((n for n, id in enumerate(request) if id not in cached), len(request))
            pool = cached | set(request)
            for kept in combinations(sorted(pool), min(capacity, len(pool))):
                state = frozenset(kept)
                after[state] = max(after.get(state, 0), so_far + gained)
        best = after
    assert sum(hits(requests, capacity, "belady")) == max(best.values())


@given(chained_requests(), st.integers(1, 20))
def test_flop_aware_without_weight_is_vllm_lru(requests: Requests, capacity: int) -> None:
    assert hits(requests, capacity, "flop-aware", alpha=0.0) == hits(requests, capacity, "vllm-lru")


@pytest.mark.parametrize("policy", POLICIES)
@given(requests=chained_requests())
def test_enough_room_hits_whatever_was_seen(policy: str, requests: Requests) -> None:
    expected, seen = [], set[int]()
    for request in requests:
        expected.append(sum(id in seen for id in request))
        seen |= set(request)
    found = replay(trace_of(requests), None, policy)
    assert found.hit_blocks.tolist() == expected
    assert found.evictions == 0
    exact = replay(trace_of(requests), max(found.distinct, 1), policy)
    assert (exact.hits, exact.evictions) == (found.hits, 0)
    assert replay(trace_of(requests), 10**12, policy).hits == found.hits


@given(loose_requests(), st.integers(1, 20))
def test_lru_and_belady_gain_from_room(requests: Requests, capacity: int) -> None:
    for policy in ("trace-lru", "belady"):
        more = sum(hits(requests, capacity + 1, policy))
        if policy == "trace-lru" or trace_of(requests).prefix_chained:
            assert sum(hits(requests, capacity, policy)) <= more


class MostRecent:
    """The example of `EvictionPolicy`'s docstring."""

    def __init__(self, capacity: int) -> None:  # noqa: ARG002 (others need it)
        self.blocks: list[Block] = []

    def insert(self, block: Block) -> None:
        self.blocks.append(block)

    def touch(self, block: Block) -> None:
        self.blocks.remove(block)
        self.blocks.append(block)

    def release(self, block: Block) -> None:
        pass

    def evict(self) -> Block:
        block = next(block for block in reversed(self.blocks) if block.refs == 0)
        self.blocks.remove(block)
        return block

    def check_integrity(self) -> None:
        assert len(self.blocks) == len(set(self.blocks))


def test_a_policy_of_ones_own() -> None:
    policy: EvictionPolicy = MostRecent(2)
    policy.check_integrity()
    found = replay(trace_of([[A], [B], [C], [A], [B]]), 2, MostRecent)
    assert found.hit_blocks.tolist() == [0, 0, 0, 1, 0]
    assert found.policy == "MostRecent"
    assert found.evictions == 2


def test_an_own_policy_may_not_evict_what_is_in_use() -> None:
    class Careless(MostRecent):
        def evict(self) -> Block:
            return self.blocks[-1]

    with pytest.raises(AssertionError, match="in use"):
        replay(trace_of([[A], [B, C]]), 2, Careless)


def test_tokens_of_a_partial_block_are_counted_once() -> None:
    trace = trace_of([[A, B], [A, B]], block_tokens=512)
    short = type(trace)(**{**vars(trace), "input_tokens": np.array([600, 600], np.int32)})
    found = replay(short, None)
    assert found.cached_tokens.tolist() == [0, 600]
    assert (found.hits, found.hit_rate, found.hit_tokens) == (2, 0.5, 600)


def test_requests_without_blocks_hit_nothing() -> None:
    for policy in POLICIES:
        found = replay(trace_of([[], []]), 3, policy)
        assert (found.hits, found.hit_rate) == (0, 0.0)


@pytest.mark.parametrize("name", ["vLLM_LRU", "vllm lru", " vllm-lru "])
def test_names_of_policies_are_read_kindly(name: str) -> None:
    assert check_policy(name) == "vllm-lru"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: check_policy("belady2"), "unknown policy 'belady2': did you mean belady?"),
        (lambda: check_policy("xyzzy"), "unknown policy 'xyzzy': policies are trace-lru, "),
        (lambda: replay(trace_of([[A]]), 0), "capacity_blocks 0 must be at least 1"),
        (lambda: PolicyOptions(alpha=-1), "alpha -1 must lie between 0 and 1e6"),
        (lambda: PolicyOptions(alpha=float("nan")), "alpha nan must lie"),
        (lambda: PolicyOptions(crossover_tokens=0), "crossover_tokens 0 must be at least 1"),
        (lambda: PolicyOptions(small_share=1), "small_share 1 must lie between 0 and 1"),
        (lambda: replay(trace_of([[A, B], [B]]), 1, "flop-aware"), "flop-aware needs blocks"),
    ],
)
def test_mistakes_take_one_line(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(InputError) as error:
        call()
    assert str(error.value).replace("generated: ", "").startswith(message)


def test_the_room_imports_nothing_heavy() -> None:
    code = "import sys, servetwin.cache; print('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
