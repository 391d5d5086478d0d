"""What plans and seats note for engines that may fail, and the arrays of `kernel/failing.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from servetwin.sim.failures import LOSSES, Failures
from servetwin.sim.inputs import SimInputs
from servetwin.sim.kernel.compile import inlined, outlined
from servetwin.sim.kernel.records import CHUNK, FAULT
from servetwin.sim.kernel.state import FOREVER, Flag, Int, Outages, Record, State

__all__ = [
    "failures_of",
    "make_outages",
    "mark_outage",
    "note_chunk",
    "outage_since_mark",
    "redone",
]


def make_outages(inputs: SimInputs, seats: int) -> Outages:
    """All failures to come; empty arrays where nothing can fail."""
    plan = inputs.failures
    engines, n = (inputs.engines, len(inputs.workload)) if plan else (0, 0)
    own = [_times_of(plan, engine) for engine in range(engines)] if plan else []
    first = np.cumsum([0, *map(len, own)]).astype(np.int64)
    time = np.array([time for times in own for time in times], np.int64)
    fault = np.zeros(1, FAULT)
    fault["next"] = FOREVER
    if plan:
        for name in (
            "detect",
            "lag",
            "replicated",
            "neighbour",
            "reroute",
        ):
            fault[name] = getattr(plan, name)
        if plan.times:
            fault["next"], fault["engine"] = min(zip(plan.times, plan.engines, strict=True))
    return Outages(
        fault=fault,
        time=time,
        back=np.zeros(time.size, np.int64),
        first=first,
        at=first[:-1].copy(),
        detect_at=np.full(engines, FOREVER, np.int64),
        back_at=np.full(engines, FOREVER, np.int64),
        returned=np.full(engines, -1, np.int64),
        copied=np.zeros(inputs.replicas if plan else 0, np.int32),
        lost=np.zeros(inputs.replicas if plan else 0, np.int32),
        known=np.zeros(engines, np.int32),
        chunk=np.zeros(seats if plan else 0, CHUNK),
        had=np.zeros(n, np.int32),
        retries=np.zeros(n, np.int32),
        spent=np.zeros(inputs.replicas if plan else 0, np.int64),
        coming=np.zeros(inputs.replicas if plan else 0, np.int64),
        mark=np.zeros(n, np.int64),
        prefill_outage=np.zeros(n, np.int64),
        decode_outage=np.zeros(n, np.int64),
        token=np.zeros(n, np.int64),
    )


def failures_of(pools: Sequence[State], inputs: SimInputs) -> dict[str, Any]:
    """What `Outcome` has of failures; nothing where there can be none."""
    if inputs.failures is None:
        return {}
    outages, first = pools[0].outages, 0
    rows, losses = [], np.zeros(len(LOSSES), np.int64)
    for pool in pools:
        rows.append(_outages_of(pool.outages, first))
        losses += [int(pool.outages.fault[0][name]) for name in LOSSES]
        first += pool.outages.at.size
    all_rows = np.concatenate(rows)
    return {
        "outages": all_rows[np.lexsort((all_rows[:, 1], all_rows[:, 0]))],
        "losses": losses,
        "retries": outages.retries,
        "prefill_outage": outages.prefill_outage,
        "decode_outage": outages.decode_outage,
    }


def _outages_of(outages: Outages, first: int) -> NDArray[np.int64]:
    """Rows as `Outcome.outages` has them, of engines that are numbered from `first` on."""
    happened = np.flatnonzero(outages.back)
    engine = np.searchsorted(outages.first, happened, side="right") - 1
    return np.stack([outages.time[happened], first + engine, outages.back[happened]], axis=1)


def _times_of(plan: Failures, engine: int) -> list[int]:
    """When an engine fails."""
    return [time for time, of in zip(plan.times, plan.engines, strict=True) if of == engine]


@inlined
def redone(state: State, settings: Record, request: Int, token: Int) -> Flag:
    """Whether the user had that token of a request when its engine failed."""
    return settings.fails and token <= state.outages.had[request]


@inlined
def mark_outage(state: State, settings: Record, request: Int) -> None:
    """Outages until the plan made now are no part of the time that begins for a request."""
    if settings.fails:
        state.outages.mark[request] = state.outages.spent[state.home[request]]


@inlined
def outage_since_mark(state: State, settings: Record, request: Int) -> Int:
    """Picoseconds that outages added to iterations since the last mark, which is moved here.

    The token of the iteration under way counts as there, where plans are made ahead.
    """
    if settings.fails == 0:
        return np.int64(0)
    outages, r = state.outages, state.home[request]
    before = outages.mark[request]
    outages.mark[request] = outages.spent[r] + outages.coming[r]
    return outages.mark[request] - before


@outlined
def note_chunk(state: State, rep: Record, number: Int, tokens: Int) -> None:
    """The plan at work computes so many prompt tokens of a seat."""
    chunk = state.outages.chunk[number]
    chunk.before = chunk.tokens if chunk.step == rep.step - 1 else 0
    chunk.step = rep.step
    chunk.tokens = tokens
