"""Requests that pass an HTTP server and a tokeniser on their way to the engine.

They do not depend on what the engine does. So the engine is simulated with later arrivals,
and what was added is taken off again: the arrivals of a result are those at the front end.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from servetwin.errors import InputError
from servetwin.types import Frontend, Workload
from servetwin.units import MAX_TIME_PS, NOT_YET

__all__ = ["delayed", "undelayed"]

Ints = NDArray[np.int64]


def delayed(frontend: Frontend, workload: Workload) -> tuple[Workload, Ints]:
    """The workload as it reaches the engines, and by how many picoseconds each request is later.

    There is a front end for each engine, so requests are not served one after another; but those
    with arrivals of their own do not overtake each other, not even on the way to different
    engines: a request behind a much longer one is held back too long. Raises InputError where
    the last one comes too late.
    """
    longest = frontend.request + frontend.token * int(workload.input_tokens.max())
    if longest > MAX_TIME_PS:
        raise _too_late(workload)
    delay = frontend.request + frontend.token * workload.input_tokens.astype(np.int64)
    known = workload.arrival != NOT_YET
    arrival = workload.arrival.copy()
    if known.any():
        reached = arrival[known] + delay[known]
        np.maximum.accumulate(reached, out=reached)
        delay[known] = reached - arrival[known]
        arrival[known] = reached
    think = workload.think_time
    if think is not None:
        think = np.where(known, think, think + delay)
    latest = max(int(arrival.max()), 0 if think is None else int(think.max()))
    if latest > MAX_TIME_PS:
        raise _too_late(workload)
    return replace(workload, arrival=arrival, think_time=think), delay


def undelayed(sent: Workload, arrival: Ints, delay: Ints) -> Ints:
    """When requests came to the front end, from when they came to the engines."""
    if not sent.closed_loop:
        return sent.arrival  # as it was, and no third copy of it
    return np.where(arrival == NOT_YET, arrival, arrival - delay)


def _too_late(workload: Workload) -> InputError:
    return InputError(
        f"{workload.source}: the front end holds requests back beyond the 90 days in which they "
        "can come"
    )
