"""The Chrome trace: valid, complete, and with slices that nest."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from servetwin.results import chrome
from servetwin.types import RunResult, Status
from support.runs import Shape, request_table, synthetic_run


def trace_of(run: RunResult, folder: Path, **options: int) -> dict[str, Any]:
    chrome.write_trace(run, folder / "trace.json", **options)
    content: dict[str, Any] = json.loads((folder / "trace.json").read_text())
    return content


def slices(content: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [event for event in content["traceEvents"] if event["name"].startswith(name)]


def test_every_request_that_ran_is_there(tmp_path: Path) -> None:
    run = synthetic_run(Shape(requests=200, rps=20))
    content = trace_of(run, tmp_path)
    requests = slices(content, "request ")
    assert len(requests) == np.count_nonzero(run.requests.status == Status.OK) == 197
    assert len(slices(content, "prefill")) == 197
    assert [event["args"]["name"] for event in slices(content, "process_name")] == [
        "replica 0",
        "replica 1",
    ]
    queue = slices(content, "queue")
    assert sum(event["ph"] == "b" for event in queue) == sum(event["ph"] == "e" for event in queue)
    first = requests[0]
    row = first["args"]["request"]
    assert first["ts"] == pytest.approx(run.requests.first_scheduled[row] / 1e6, abs=1e-3)
    assert first["dur"] == pytest.approx(
        (run.requests.finish[row] - run.requests.first_scheduled[row]) / 1e6, abs=2e-3
    )


def test_outages_are_slices_of_a_track_of_their_own(tmp_path: Path) -> None:
    outages = [{"engine": 1, "failed_s": 0.5, "back_s": 2.0}]
    run = replace(synthetic_run(Shape(requests=20)), failures={"outages": outages})
    content = trace_of(run, tmp_path)
    (outage,) = slices(content, "outage")
    assert (outage["ph"], outage["ts"], outage["dur"]) == ("X", 5e5, 1.5e6)
    assert (outage["pid"], outage["tid"]) == (2, 0)
    (named,) = slices(content, "thread_name")
    assert (named["pid"], named["tid"], named["args"]) == (2, 0, {"name": "outages"})


def test_slices_of_a_lane_do_not_overlap_and_lanes_are_few(tmp_path: Path) -> None:
    content = trace_of(synthetic_run(Shape(requests=300, rps=30, slots=8)), tmp_path)
    lanes = defaultdict(list)
    for event in slices(content, "request "):
        begin = round(event["ts"] * 1000)
        lanes[event["pid"], event["tid"]].append((begin, begin + round(event["dur"] * 1000)))
    assert len(lanes) == 16
    for spans in lanes.values():
        spans.sort()
        assert all(end <= begin for (_, end), (begin, _) in pairwise(spans))


def test_prefill_and_decode_lie_within_their_request(tmp_path: Path) -> None:
    events = trace_of(synthetic_run(Shape(requests=100)), tmp_path)["traceEvents"]
    whole: tuple[int, int] = (0, 0)
    for event in events:
        if event["ph"] == "X":
            begin = round(event["ts"] * 1000)
            span = (begin, begin + round(event["dur"] * 1000))
            if event["name"].startswith("request "):
                whole = span
            assert whole[0] <= span[0] <= span[1] <= whole[1]


def test_a_long_run_is_cut_and_says_so(tmp_path: Path) -> None:
    content = trace_of(synthetic_run(Shape(requests=100)), tmp_path, max_requests=10)
    shown = [event["args"]["request"] for event in slices(content, "request ")]
    assert sorted(shown) == list(range(10))
    assert content["otherData"]["requests"].startswith("10 of 100 requests shown")


def test_counters_are_thinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = synthetic_run(Shape(requests=100))
    assert run.timeline is not None
    full = slices(trace_of(run, tmp_path), "KV blocks")
    assert len(full) == len(run.timeline)
    monkeypatch.setattr(chrome, "MAX_COUNTER_ROWS", 10)
    assert len(slices(trace_of(run, tmp_path), "KV blocks")) <= 10 + 2


@pytest.mark.parametrize(
    "table",
    [
        request_table(arrival=np.empty(0, np.int64)),
        request_table(arrival=[0], status=[Status.REJECTED], replica=[-1]),
        request_table(arrival=[0], first_scheduled=[5], status=[Status.UNFINISHED]),
        request_table(arrival=[0], first_token=[5], finish=[9]),
    ],
)
def test_odd_runs_give_valid_traces(tmp_path: Path, table: Any) -> None:
    content = trace_of(synthetic_run(requests=table, timeline=None), tmp_path)
    assert isinstance(content["traceEvents"], list)
