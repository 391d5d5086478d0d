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
from servetwin.units import CLOCK_END_PS, MAX_TIME_PS, NOT_YET

__all__ = ["at_the_door", "behind"]

Ints = NDArray[np.int64]


def behind(frontend: Frontend, workload: Workload) -> tuple[Workload, Ints]:
    """The workload as it reaches the engine, and by how many picoseconds each request is later.

    One tokeniser takes requests in order of arrival. One that follows another request finds
    it idle: when it comes is not known beforehand. Raises InputError past the clock.
    """
    longest = frontend.request + frontend.token * int(workload.input_tokens.max())
    if longest * len(workload) > CLOCK_END_PS:
        raise InputError(
            "the frontend is too slow: the requests would take longer than the 106 days of the "
            "clock to pass it"
        )
    own = frontend.token * workload.input_tokens.astype(np.int64)
    delay = own + frontend.request
    known = workload.arrival != NOT_YET
    arrival = workload.arrival.copy()
    if known.any():
        served = np.cumsum(own[known])
        ready = served + np.maximum.accumulate(arrival[known] - (served - own[known]))
        delay[known] = ready + frontend.request - arrival[known]
        arrival[known] += delay[known]
        if int(arrival[known][-1]) > MAX_TIME_PS:
            raise InputError(
                f"{workload.source}: its last request passes the frontend after the 90 days "
                "in which requests can come"
            )
    think = workload.think_time
    if think is not None:
        think = np.where(known, think, think + delay)
    return replace(workload, arrival=arrival, think_time=think), delay


def at_the_door(arrival: Ints, delay: Ints) -> Ints:
    """When requests came to the front end, from when they came to the engine."""
    return np.where(arrival == NOT_YET, arrival, arrival - delay)
