"""Random failures of the engines of a run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from servetwin.sim import kernel
from servetwin.sim.failures import Failures
from servetwin.sim.inputs import SimInputs
from servetwin.sim.outcome import Outcome

__all__ = ["drawn_failures", "failing_pools"]


@st.composite
def drawn_failures(draw: st.DrawFn, inputs: SimInputs, copies: str) -> Failures:
    """Failures within about the time that the run takes without them, often at a boundary."""
    calm = kernel.run(replace(inputs, snapshot_interval=0))
    return draw(_failures(_times(calm), inputs.engines, copies))


@st.composite
def failing_pools(draw: st.DrawFn, inputs: SimInputs, copies: str) -> SimInputs:
    """The same pools, whose engines fail, each pool's with times of its own."""
    assert inputs.decode is not None
    prefill, decode = replace(inputs, snapshot_interval=0), inputs.decode
    engine = replace(decode.engine, snapshot_interval=0)
    times = _times(kernel.run(replace(prefill, decode=replace(decode, engine=engine))))
    here = draw(_failures(times, inputs.engines, copies))
    there = draw(_failures(times, decode.engine.engines, copies))
    # A run has one time until a failure is detected, one lag, and reroutes or does not.
    there = replace(there, detect=here.detect, lag=here.lag, reroute=here.reroute)
    engine = replace(decode.engine, failures=there)
    return replace(inputs, failures=here, decode=replace(decode, engine=engine))


def _times(calm: Outcome) -> NDArray[np.int64]:
    times = [calm.first_token, calm.finish, calm.arrival]
    if calm.handover is not None:
        times.append(calm.first_token + calm.handover)
    return np.concatenate(times)


@st.composite
def _failures(draw: st.DrawFn, times: NDArray[np.int64], engines: int, copies: str) -> Failures:
    end = max(1, int(times.max()))
    count = draw(st.integers(1, 6 if copies != "neighbour" else 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    drawn = rng.integers(0, end + end // 2 + 2, count)
    chosen = np.where(rng.random(count) < 0.3, rng.choice(times[times >= 0], count), drawn)
    at = np.sort(chosen)
    scale = max(1, end // 50)
    return Failures(
        tuple(at.tolist()),
        tuple(rng.integers(0, engines, count).tolist()),
        detect=draw(st.sampled_from([0, 1, scale, 5 * scale])),
        restart=draw(st.sampled_from([0, 1, 3 * scale, 10 * scale])),
        replicated=copies != "none",
        neighbour=copies == "neighbour",
        restore_block=draw(st.sampled_from([0, 1, 7])),
        lag=draw(st.sampled_from([0, 1, 3])),
        reroute=draw(st.integers(0, 3)) > 0,
    )
