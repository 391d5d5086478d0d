"""Fragments against a plain loop."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servetwin.errors import InputError
from servetwin.sim.closed_form import (
    fragments,
    plan_fragments,
)
from servetwin.sim.closed_form.fragments import MILLE
from servetwin.sim.closed_form.model import CacheSize, Phases, Requests
from servetwin.units import PS_PER_MS, PS_PER_S
from support.closed_form import KAVIER, all_of


def requests_of(*milliseconds: tuple[int, int]) -> Requests:
    """Rows of (prefill, decode) in thousandths of a millisecond."""
    prefill, decode = (np.array(c, np.int64) * PS_PER_MS // 1000
                       for c in zip(*milliseconds, strict=True))  # fmt: skip
    return Requests(prefill // PS_PER_MS + 1, decode // PS_PER_MS + 1, prefill, decode)


def by_hand(requests: Requests, step_ms: int) -> list[tuple[int, int, int]]:
    """The original's loop: one request, one fragment after the other."""
    rows = []
    for task, (prefill, decode) in enumerate(zip(requests.prefill, requests.decode, strict=True)):
        total = int(prefill + decode)
        total_ms = max(1, (total + PS_PER_MS // 2) // PS_PER_MS)
        count = max(1, total_ms // step_ms)
        for number in range(count):
            at = number * step_ms * PS_PER_MS
            edge = at < PS_PER_S // 5 or at >= total - PS_PER_S // 5
            last = total_ms - number * step_ms
            rows.append((task, last if number == count - 1 else step_ms, 500 if edge else 950))
    return rows


@given(
    st.lists(st.tuples(st.integers(0, 900_000), st.integers(0, 2_000_000)), min_size=1, max_size=8),
    st.sampled_from([1, 7, 100, 200, 1000, 60_000]),
    st.integers(1, 50),
)
def test_fragments_are_those_of_the_loop(times, step_ms, rows):
    requests = requests_of(*times)
    plan = plan_fragments(KAVIER, requests, step_ms / 1000)
    found = all_of(plan, rows * 20)
    assert found == by_hand(requests, step_ms)
    assert len(found) == plan.total
    durations = np.zeros(len(times), np.int64)
    np.add.at(durations, [row[0] for row in found], [row[1] for row in found])
    np.testing.assert_array_equal(durations, plan.duration_ms)


def test_requests_beyond_one_portion_keep_their_numbers(monkeypatch):
    requests = requests_of(*[(400_000 + 1000 * i, 900_000) for i in range(23)])
    whole = all_of(plan_fragments(KAVIER, requests, 0.1))
    monkeypatch.setattr(fragments, "REQUESTS_AT_ONCE", 4)
    assert all_of(plan_fragments(KAVIER, requests, 0.1), rows=5) == whole


class Ramp:
    """Utilisation 0.2 in the prefill, then from 0.5 down to 0.3."""

    device = KAVIER.device
    cache = CacheSize(0.0)

    def phases(self, requests: Requests, kv_cache: bool = True) -> Phases:
        assert kv_cache

        def level(value: float) -> np.ndarray:
            return np.full(requests.prefill.size, value)

        end = requests.prefill + requests.decode
        return Phases(requests.prefill, end, level(0.2), level(0.5), level(0.3), level(0.3))


def test_utilisation_follows_its_line():
    plan = plan_fragments(Ramp(), requests_of((250_000, 2_000_000)), 0.1)
    usage = [row[2] for row in all_of(plan)]
    assert usage[:4] == [200, 200, 200, 500]
    assert usage[3:] == pytest.approx([500 - 10 * i for i in range(19)], abs=1)


@pytest.mark.parametrize(
    "rate", [0, -1, float("nan"), float("inf"), 1e-9, 0.0015, 1e9, float("-inf")]
)
def test_impossible_rates(rate):
    with pytest.raises(InputError, match="export rate") as error:
        plan_fragments(KAVIER, requests_of((1, 1)), rate)
    assert "\n" not in str(error.value)


def test_too_many_fragments():
    weeks = np.full(30, 10**6 * PS_PER_S)
    requests = Requests(weeks, weeks, weeks, 0 * weeks)
    with pytest.raises(InputError, match="raise the rate"):
        plan_fragments(KAVIER, requests, 0.001)
    assert plan_fragments(KAVIER, requests, 1).total == 30 * 10**6


@given(st.lists(st.tuples(st.integers(0, 900_000), st.integers(0, 2_000_000)), min_size=1,
                max_size=6), st.integers(1, 40))  # fmt: skip
def test_the_cache_grows_with_the_tokens(times, rows):
    requests = requests_of(*times)
    requests = replace(requests, input_tokens=requests.input_tokens * 9000)
    plan = plan_fragments(KAVIER, requests, 0.1)
    found = np.concatenate([b.kv.copy() for b in plan.batches(rows, kv=True)])
    token = KAVIER.cache.token / KAVIER.device.memory * MILLE
    at = 0
    for row, count in enumerate(plan.counts.tolist()):
        prefill, whole = requests.prefill[row], requests.prefill[row] + requests.decode[row]
        given_tokens = requests.input_tokens[row]
        tokens = np.interp(
            np.arange(count) * 100.0 * PS_PER_MS,
            [0, prefill, whole],
            [0 if prefill else given_tokens, given_tokens,
             given_tokens + requests.output_tokens[row]],
        )  # fmt: skip
        expected = np.minimum(tokens * token, 65535)
        np.testing.assert_allclose(found[at : at + count], expected, atol=1.01)
        at += count


class Windowed:
    """A million bytes a token; half as much within a window of 100; ten million to begin with."""

    cache = CacheSize(1e6, 5e5, 100, 1e7)
    device = replace(KAVIER.device, memory=1e9)
    phases = KAVIER.phases


def test_a_window_bends_the_growth_of_the_cache():
    requests = Requests(*(np.array([value], np.int64) for value in (
        80, 60, 8 * 100 * PS_PER_MS, 60 * 100 * PS_PER_MS)))  # fmt: skip
    plan = plan_fragments(Windowed(), requests, 0.1)
    found = np.concatenate([batch.kv.copy() for batch in plan.batches(7, kv=True)])
    tokens = [10 * i for i in range(8)] + [80 + i for i in range(60)]
    expected = [n and 10 + n + min(n, 100) // 2 for n in tokens]
    np.testing.assert_allclose(found, expected, atol=1.01)


def test_without_kv_cache_nothing_is_held():
    plan = plan_fragments(KAVIER, requests_of((300_000, 900_000)), 0.1, kv_cache=False)
    assert not next(plan.batches(100, kv=True)).kv.any()
