"""Intervals and verdicts of runs whose requests are written by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from servetwin.calibrate.error_bars import Band, Bands, Rerun, around
from servetwin.calibrate.verdict import COMFORTABLE, NEAR, SATURATED, verdict
from servetwin.types import RunResult, Status
from servetwin.units import PS_PER_MS, PS_PER_S
from support.runs import request_table

BANDS = Bands(pace=Band(0.9, 1.2), ttft=Band(0.8, 1.5), tpot=Band(0.95, 1.1))


def run_of(queue_ms: Sequence[int], own_ms: int, decode_ms: int, gap_s: int = 1) -> RunResult:
    """A request every `gap_s` seconds, each with 11 output tokens."""
    arrival = np.arange(len(queue_ms), dtype=np.int64) * gap_s * PS_PER_S
    scheduled = arrival + np.array(queue_ms, dtype=np.int64) * PS_PER_MS
    first = scheduled + own_ms * PS_PER_MS
    columns: dict[str, Any] = {
        "arrival": arrival,
        "first_scheduled": scheduled,
        "first_token": first,
        "finish": first + decode_ms * PS_PER_MS,
        "output_tokens": np.full(arrival.size, 11, np.int32),
    }
    return RunResult("simulated", {}, {}, {}, request_table(**columns))


def test_residuals_apply_to_what_is_not_spent_in_the_queue() -> None:
    run = run_of([10] * 4, own_ms=40, decode_ms=1000)
    fast = Rerun(0.9, run_of([5] * 4, own_ms=38, decode_ms=980))
    slow = Rerun(1.2, run_of([30] * 4, own_ms=42, decode_ms=1020))
    found = around(run, fast, slow, BANDS)
    assert found["nominal"] == 0.8
    assert found["ttft_ms"]["mean"] == pytest.approx([5 + 0.8 * 40, 30 + 1.5 * 40])
    assert found["tpot_ms"]["p99"] == pytest.approx([95, 110])
    low, high = 5 + 32 + 950, 30 + 60 + 1100
    assert found["e2e_latency_s"]["p50"] == pytest.approx([low / 1e3, high / 1e3])


def test_reruns_count_where_they_are_farther_out() -> None:
    run = run_of([0] * 4, own_ms=40, decode_ms=1000)
    fast = Rerun(0.9, run_of([0] * 4, own_ms=10, decode_ms=500))
    slow = Rerun(1.2, run_of([0] * 4, own_ms=400, decode_ms=5000))
    found = around(run, fast, slow, BANDS)
    assert found["ttft_ms"]["mean"] == pytest.approx([10, 400])
    assert found["tpot_ms"]["mean"] == pytest.approx([50, 500])


def test_throughput_is_that_of_the_reruns() -> None:
    runs = [run_of([0] * 2, own_ms=500, decode_ms=ms) for ms in (500, 1500, 2500)]
    found = around(runs[1], Rerun(0.9, runs[0]), Rerun(1.2, runs[2]), BANDS)
    assert found["throughput_token_s"] == pytest.approx([22 / 4, 22 / 2])


def test_requests_without_an_end_have_no_interval() -> None:
    run = run_of([0], own_ms=10, decode_ms=10)
    lost = RunResult("simulated", {}, {}, {}, request_table(arrival=[0], status=[1]))
    found = around(run, Rerun(0.9, run), Rerun(1.2, lost), BANDS)
    assert found["ttft_ms"]["mean"] is None
    assert found["throughput_token_s"] is None


def loaded(queue_ms: int, growth_ms: int) -> RunResult:
    """Forty requests; each waits `growth_ms` longer than the one before."""
    queue = [queue_ms + growth_ms * number for number in range(40)]
    return run_of(queue, own_ms=50, decode_ms=1000, gap_s=1)


def test_a_latency_that_moves_as_iterations_do_is_comfortable() -> None:
    slow = Rerun(1.2, run_of([0] * 40, own_ms=60, decode_ms=1200))
    found = verdict(loaded(0, 0), slow)
    assert found["load"] == COMFORTABLE
    assert "1.0 %" in found["because"]


def test_a_latency_that_moves_faster_is_near_the_knee() -> None:
    found = verdict(loaded(0, 0), Rerun(1.2, loaded(200, 0)))
    assert found["load"] == NEAR


def test_a_queue_that_grows_with_slower_iterations_is_near_the_knee() -> None:
    found = verdict(loaded(0, 0), Rerun(1.25, loaded(0, 2000)))
    assert found["load"] == NEAR
    assert "25 %" in found["because"]


def test_a_queue_that_grows_is_saturated() -> None:
    assert verdict(loaded(0, 2000), Rerun(1.2, loaded(0, 3000)))["load"] == SATURATED


def test_a_batch_is_judged_by_its_queue() -> None:
    waits = run_of([1000] * 4, own_ms=50, decode_ms=100, gap_s=0)
    runs_at_once = run_of([0] * 4, own_ms=50, decode_ms=100, gap_s=0)
    assert verdict(waits, Rerun(1.2, waits))["load"] == SATURATED
    assert verdict(runs_at_once, Rerun(1.2, runs_at_once))["load"] == COMFORTABLE


def test_where_little_completes_there_is_no_verdict() -> None:
    run = loaded(0, 0)
    run.requests.status[:21] = Status.REJECTED
    assert verdict(run, Rerun(1.2, loaded(0, 0))) is None
    run.requests.status[:2] = Status.OK
    assert verdict(run, Rerun(1.2, loaded(0, 0))) is not None
