"""The chart of a prefix cache holds the replays' figures."""

from __future__ import annotations

from servetwin.cache import POLICIES, replay
from servetwin.report.cache_figures import hit_rate_by_capacity
from support.blocks import trace_of

TRACE = trace_of([[0, 1], [0, 1, 2], [3], [0, 1]])


def test_every_replay_is_a_point() -> None:
    replays = [replay(TRACE, capacity, policy) for policy in POLICIES for capacity in (2, None)]
    content = hit_rate_by_capacity(replays, "a.jsonl, 4 requests").to_dict()
    (rows,) = content["datasets"].values()
    assert [(row["policy"], row["rate"]) for row in rows] == [
        (replay.policy, replay.hit_rate) for replay in replays
    ]
    assert {(row["capacity"], row["blocks"]) for row in rows} == {("2", 2), ("unbounded", 4)}
    assert content["encoding"]["color"]["scale"]["domain"] == list(POLICIES)
    assert len(set(content["encoding"]["color"]["scale"]["range"])) == len(POLICIES)
    told = content["title"]["subtitle"]
    assert told == ["a.jsonl, 4 requests", "unbounded stands at 4, all different blocks"]


def test_nothing_is_said_of_unbounded_where_it_is_not_shown() -> None:
    content = hit_rate_by_capacity([replay(TRACE, 2, "fifo")], "a.jsonl").to_dict()
    assert content["title"]["subtitle"] == ["a.jsonl"]
