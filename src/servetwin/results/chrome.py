"""A Chrome trace of a run, which Perfetto (ui.perfetto.dev) and chrome://tracing open.

Each replica is a process. Its running requests occupy lanes (threads), each request a slice
with its prefill and decode inside; waiting requests are asynchronous slices named `queue`;
the timeline becomes counters. With a decode pool, a request has a slice on either replica, and
between them an asynchronous one named `KV transfer`. While an engine that failed is down, its
track `outages` has a slice.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from servetwin.types import RequestTable, RunResult, Timeline
from servetwin.units import NOT_YET, PS_PER_NS, PS_PER_S

__all__ = ["MAX_COUNTER_ROWS", "MAX_REQUESTS", "write_trace"]

MAX_REQUESTS = 50_000
"""Requests shown, the first to arrive; a viewer chokes on many more."""

MAX_COUNTER_ROWS = 50_000

Event = dict[str, Any]


def write_trace(run: RunResult, path: Path, max_requests: int = MAX_REQUESTS) -> None:
    """Write the trace of the first `max_requests` requests that a replica began."""
    rows = _shown(run.requests, max_requests)
    with path.open("w", encoding="utf-8") as file:
        file.write('{"displayTimeUnit": "ms", "traceEvents": [\n')
        separator = ""
        for event in _events(run, rows):
            file.write(separator + json.dumps(event, separators=(",", ":")))
            separator = ",\n"
        file.write('\n], "otherData": ' + json.dumps(_about(run, rows)) + "}\n")


def _shown(table: RequestTable, limit: int) -> NDArray[np.int64]:
    """Numbers of the requests to show, in the order in which replicas began them."""
    begun = np.flatnonzero((table.replica >= 0) & (_begin(table) != NOT_YET))
    begun = begun[np.argsort(table.arrival[begun], kind="stable")][:limit]
    return np.asarray(begun[np.argsort(_begin(table)[begun], kind="stable")])


def _begin(table: RequestTable) -> NDArray[np.int64]:
    """When each request left the queue; the arrival where that was not measured."""
    unknown = (table.first_scheduled == NOT_YET) & (table.first_token != NOT_YET)
    return np.where(unknown, table.arrival, table.first_scheduled)


def _about(run: RunResult, rows: NDArray[np.int64]) -> dict[str, str]:
    note = f"{rows.size} of {len(run.requests)} requests shown, the first to arrive"
    return {"generator": "servetwin", "kind": run.kind, "requests": note}


def _events(run: RunResult, rows: NDArray[np.int64]) -> Iterator[Event]:
    table = run.requests
    down = [outage["engine"] for outage in (run.failures["outages"] if run.failures else [])]
    homes = (_first_replica(table)[rows], table.replica[rows], np.array(down, np.int32))
    replicas = np.unique(np.concatenate(homes)).tolist()
    kinds = {
        replica: f", {group['gpu']}"
        for group in run.groups or ()
        for replica in range(group["first"], group["first"] + group["replicas"])
    }
    for replica in replicas:
        name = {"name": f"replica {replica}{kinds.get(replica, '')}"}
        yield {"ph": "M", "name": "process_name", "pid": replica + 1, "tid": 0, "args": name}
    yield from _outage_events(run.failures["outages"] if run.failures else [])
    yield from _request_events(table, rows)
    yield from _decode_events(table, rows)
    if run.timeline is not None:
        yield from _counters(run.timeline)


def _outage_events(outages: list[dict[str, Any]]) -> Iterator[Event]:
    """When engines were down, of as many outages as the summary names."""
    for engine in sorted({outage["engine"] for outage in outages}):
        name = {"name": "outages"}
        yield {"ph": "M", "name": "thread_name", "pid": engine + 1, "tid": 0, "args": name}
    for outage in outages:
        span = (round(outage[name] * PS_PER_S) for name in ("failed_s", "back_s"))
        yield _slice("outage", (next(span), next(span)), (outage["engine"] + 1, 0))


def _request_events(table: RequestTable, rows: NDArray[np.int64]) -> Iterator[Event]:
    lanes = _Lanes()
    begin, replica, moved = _begin(table), _first_replica(table), _moved(table)
    for row in rows.tolist():
        pid = int(replica[row]) + 1
        started, first, end = (int(c[row]) for c in (begin, table.first_token, table.finish))
        end = first if moved[row] else end
        last = max(started, first, end)
        tid = lanes.take(pid, started, last)
        arrived = int(table.arrival[row])
        if started > arrived:
            queue = {"cat": "queue", "name": "queue", "id": row, "pid": pid, "tid": 0}
            yield {"ph": "b", "ts": _us(arrived), **queue}
            yield {"ph": "e", "ts": _us(started), **queue}
        about = {
            "request": row,
            "input_tokens": int(table.input_tokens[row]),
            "output_tokens": int(table.output_tokens[row]),
            "preemptions": int(table.preemptions[row]),
        }
        yield _slice(f"request {row}", (started, last), (pid, tid), about)
        if first != NOT_YET:
            yield _slice("prefill", (started, first), (pid, tid))
            if end > first:
                yield _slice("decode", (first, end), (pid, tid))


def _first_replica(table: RequestTable) -> NDArray[np.int32]:
    """Where each prompt was computed."""
    return table.replica if table.prefill_replica is None else table.prefill_replica


def _moved(table: RequestTable) -> NDArray[np.bool_]:
    """Which requests were decoded on another replica."""
    return np.asarray(_first_replica(table) != table.replica)


def _decode_events(table: RequestTable, rows: NDArray[np.int64]) -> Iterator[Event]:
    """What requests do on the replica that their KV blocks were moved to."""
    if table.handover is None:
        return
    lanes = _Lanes()
    joined = table.first_token + table.handover
    rows = rows[_moved(table)[rows]]
    for row in rows[np.argsort(joined[rows], kind="stable")].tolist():
        pid = int(table.replica[row]) + 1
        first, start, end = (int(c[row]) for c in (table.first_token, joined, table.finish))
        moving = {"cat": "transfer", "name": "KV transfer", "id": row, "pid": pid, "tid": 0}
        yield {"ph": "b", "ts": _us(first), **moving}
        yield {"ph": "e", "ts": _us(start), **moving}
        track = (pid, lanes.take(pid, start, end))
        yield _slice(f"request {row}", (start, end), track, {"request": row})
        yield _slice("decode", (start, end), track)


class _Lanes:
    """Lowest free lane of each replica, so that slices of one lane do not overlap."""

    def __init__(self) -> None:
        self.busy: dict[int, list[tuple[int, int]]] = {}
        self.free: dict[int, list[int]] = {}
        self.count: dict[int, int] = {}

    def take(self, pid: int, start: int, end: int) -> int:
        """Return the lane of a slice; calls of one `pid` come in order of `start`."""
        busy, free = self.busy.setdefault(pid, []), self.free.setdefault(pid, [])
        while busy and busy[0][0] <= start:
            heapq.heappush(free, heapq.heappop(busy)[1])
        if free:
            lane = heapq.heappop(free)
        else:
            lane = self.count[pid] = self.count.get(pid, 0) + 1
        heapq.heappush(busy, (end, lane))
        return lane


def _slice(
    name: str, span: tuple[int, int], track: tuple[int, int], args: Event | None = None
) -> Event:
    start, end = span
    event = {"ph": "X", "name": name, "ts": _us(start), "dur": _us(end, since=start)}
    event |= {"pid": track[0], "tid": track[1]}
    return event if args is None else {**event, "args": args}


def _us(picoseconds: int, since: int = 0) -> float:
    """Microseconds in whole nanoseconds, so that no slice outlasts the one it lies in."""
    return (picoseconds // PS_PER_NS - since // PS_PER_NS) / 1000


def _counters(timeline: Timeline) -> Iterator[Event]:
    """Yield the timeline's states, thinned evenly to about `MAX_COUNTER_ROWS` rows."""
    stride = max(-(-len(timeline) // MAX_COUNTER_ROWS), 1)
    times = np.unique(timeline.t)[::stride]
    for row in np.flatnonzero(np.isin(timeline.t, times)).tolist():
        where = {"ph": "C", "ts": _us(int(timeline.t[row])), "pid": int(timeline.replica[row]) + 1}
        running, waiting = int(timeline.running[row]), int(timeline.waiting[row])
        yield {**where, "name": "requests", "args": {"running": running, "waiting": waiting}}
        yield {**where, "name": "KV blocks", "args": {"used": int(timeline.kv_blocks[row])}}
