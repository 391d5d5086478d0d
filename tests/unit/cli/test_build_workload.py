"""From settings to requests: sessions, their arrivals, and what a trace is asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from servetwin.cli.build_workload import build_workload
from servetwin.cli.settings import RunSettings
from servetwin.errors import InputError
from servetwin.types import Workload
from servetwin.units import NOT_YET, PS_PER_S


def built(**values: Any) -> Workload:
    return build_workload(RunSettings(**values))


@pytest.fixture
def sessions(tmp_path: Path) -> str:
    """A folder of 20 agentic sessions of 3 requests; the third waits 7 s."""
    for name in range(20):
        turns = [{"t": 0, "in": 10, "out": 2}, {"t": 1, "in": 20, "out": 2, "think_time": 1}]
        turns.append({"t": 9, "in": 30, "out": 2, "think_time": 7})
        (tmp_path / f"{name:02}.json").write_text(json.dumps({"requests": turns}))
    return str(tmp_path)


def roots(workload: Workload) -> Any:
    return workload.arrival[workload.arrival != NOT_YET]


def assert_chains_kept(workload: Workload) -> None:
    assert workload.parent is not None
    assert workload.think_time is not None
    assert workload.parent.tolist()[:6] == [-1, 0, 1, -1, 3, 4]
    assert workload.think_time.tolist()[:3] == [0, PS_PER_S, 7 * PS_PER_S]


@pytest.mark.parametrize(
    "arrivals", [None, "poisson", "gamma:cv=3", "bursts:factor=4,on=1s,off=9s"]
)
def test_sessions_come_at_the_rate_asked_for(sessions: str, arrivals: str | None) -> None:
    assert set(roots(built(trace=sessions)).tolist()) == {0}
    workload = built(trace=sessions, rps=0.5, arrivals=arrivals)
    assert roots(workload).size == 20
    assert len(set(roots(workload).tolist())) > 15
    assert 3 * PS_PER_S < workload.span_ps < 400 * PS_PER_S
    assert_chains_kept(workload)
    again = built(trace=sessions, rps=0.5, arrivals=arrivals)
    assert np.array_equal(again.arrival, workload.arrival)
    other = built(trace=sessions, rps=0.5, arrivals=arrivals, seed=1)
    assert not np.array_equal(other.arrival, workload.arrival)


def test_sessions_at_constant_gaps(sessions: str) -> None:
    workload = built(trace=sessions, rps=0.5, arrivals="constant", requests=7)
    assert workload.arrival.tolist() == [0, -1, -1, 2 * PS_PER_S, -1, -1, 4 * PS_PER_S]
    assert roots(built(trace=sessions, arrivals="once")).tolist() == [0] * 20


def test_sessions_that_come_over_time_keep_their_pattern(tmp_path: Path) -> None:
    lines = [
        {"session_id": str(at), "arrival_time_ns": at * 10**9, "sub_requests": [turn, turn]}
        for at in (0, 1, 4)
        for turn in [{"input_toks": 5, "output_toks": 5, "tool_duration_ns": 3}]
    ]
    trace = tmp_path / "sessions.jsonl"
    trace.write_text("\n".join(map(json.dumps, lines)))
    workload = built(trace=str(trace), rps=1)
    assert roots(workload).tolist() == [0, PS_PER_S // 2, 2 * PS_PER_S]
    assert workload.think_time is not None
    assert workload.think_time.tolist() == [0, 3000] * 3


def test_a_trace_of_lengths_alone_comes_as_a_poisson_process(tmp_path: Path) -> None:
    trace = tmp_path / "lengths.json"
    trace.write_text(json.dumps([[10, 5]] * 1000))
    workload = built(trace=str(trace), rps=2)
    assert np.array_equal(
        workload.arrival, built(trace=str(trace), rps=2, arrivals="poisson").arrival
    )
    assert workload.span_ps / PS_PER_S == pytest.approx(500, rel=0.1)
    with pytest.raises(InputError, match="one arrival, so there are no gaps"):
        built(trace=str(trace), rps=2, requests=1)


@pytest.mark.parametrize("arrivals", ["closed:concurrency=4", "trace:{}"])
def test_sessions_are_no_users_of_a_closed_loop(sessions: str, arrivals: str) -> None:
    with pytest.raises(InputError, match=r"sessions .* wait for their answers already"):
        built(trace=sessions, arrivals=arrivals.format(sessions))


def test_sessions_are_generated() -> None:
    workload = built(isl="100", osl="10", turns="4", think="2s", rps=1, requests=40)
    assert roots(workload).size == 10
    assert workload.input_tokens.tolist()[:5] == [100, 210, 320, 430, 100]
    assert workload.parent is not None
    assert workload.parent.tolist()[:5] == [-1, 0, 1, 2, -1]
    assert workload.think_time is not None
    assert workload.think_time.tolist()[:5] == [0, *[2 * PS_PER_S] * 3, 0]
    assert workload.session_id is not None
    assert workload.session_id.tolist()[:5] == [0, 0, 0, 0, 1]


def test_a_preset_lends_its_lengths_to_sessions() -> None:
    workload = built(workload="azure-conv", turns="1..8", think="exp(10s)", rps=2, requests=500)
    count = roots(workload).size
    assert 80 < count < 150
    assert workload.span_ps == pytest.approx((count - 1) * PS_PER_S / 2, abs=1)
    assert workload.think_time is not None
    assert np.unique(workload.think_time).size > 200
    assert roots(built(workload="azure-conv", turns="9", rps=2, requests=5)).size == 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"think": "1s"}, "--think is the pause between turns: give --turns, too"),
        ({"turns": "4", "arrivals": "closed:concurrency=2"}, "sessions wait for their answers"),
        ({"turns": "0"}, "a fixed length is 0"),
        ({"turns": "some"}, "'some' is not understood"),
        ({"turns": "4", "think": "soon"}, "'soon' is not a duration"),
        ({"turns": "4", "think": "exp(x)"}, "'x' is not a duration"),
    ],
)
def test_sessions_that_cannot_be(values: dict[str, str], message: str) -> None:
    with pytest.raises(InputError) as caught:
        built(isl="5", osl="5", **values)
    assert message in str(caught.value)


def test_a_trace_has_its_own_sessions(sessions: str) -> None:
    for values in ({"turns": "4"}, {"think": "4s"}):
        with pytest.raises(InputError, match="--turns and --think make sessions of generated"):
            built(trace=sessions, **values)


def test_requests_that_are_too_long_are_left_out_before_any_is_counted(tmp_path: Path) -> None:
    trace = tmp_path / "t.csv"
    rows = "\n".join(f"{at},{10 + 90 * (at % 2)},5" for at in range(100))
    trace.write_text(f"arrived_at,num_prefill_tokens,num_decode_tokens\n{rows}\n")
    workload = built(trace=str(trace), max_total_tokens=15, requests=50, rps=1)
    assert set(workload.input_tokens.tolist()) == {10}
    assert (len(workload), workload.span_ps) == (50, 49 * PS_PER_S)
    note = "50 of 100 requests left out: more than 15 tokens of input and output"
    assert workload.notes == (note,)
    with pytest.raises(InputError, match="has only 50 requests of at most 15 tokens"):
        built(trace=str(trace), max_total_tokens=15, requests=51)
    assert built(trace=str(trace), max_total_tokens=105).notes == ()


def test_a_generator_leaves_out_what_is_too_long() -> None:
    lengths = {"isl": "1..100", "osl": "1", "requests": 1000, "rps": 2}
    workload = built(**lengths, max_total_tokens=50)
    assert int(workload.input_tokens.max()) == 49
    assert 400 < len(workload) < 600
    preset = built(workload="azure-conv", requests=1000, rps=2, max_total_tokens=1000)
    assert int((preset.input_tokens + preset.output_tokens).max()) <= 1000
    assert preset.span_ps == pytest.approx((len(preset) - 1) * PS_PER_S / 2, abs=1)


def test_a_session_ends_before_its_first_turn_that_is_too_long() -> None:
    workload = built(isl="100", osl="10", turns="4", requests=40, max_total_tokens=330)
    assert workload.input_tokens.tolist() == [100, 210, 320] * 10


def test_arrivals_that_were_made_up_are_said(sessions: str) -> None:
    note = "sessions without times of their own come as a Poisson process"
    assert built(trace=sessions, rps=1).notes == (note,)
    assert built(trace=sessions, rps=1, arrivals="poisson").notes == ()


def test_lengths_that_are_not_understood_name_their_flag() -> None:
    with pytest.raises(InputError, match=r"--isl: '8k' is not understood.*write 8192 or 8000"):
        built(isl="8k", osl="5", rps=1)
    with pytest.raises(InputError, match="--osl: 'x' is not understood"):
        built(isl="8", osl="x", rps=1)
