"""Random failures of the engines of a run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from servetwin.sim import kernel
from servetwin.sim.failures import Failures
from servetwin.sim.inputs import SimInputs

__all__ = ["drawn_failures"]


@st.composite
def drawn_failures(draw: st.DrawFn, inputs: SimInputs, copies: str) -> Failures:
    """Failures within about the time that the run takes without them, often at a boundary."""
    calm = kernel.run(replace(inputs, snapshot_interval=0))
    times = np.concatenate([calm.first_token, calm.finish, calm.arrival])
    end = max(1, int(times.max()))
    count = draw(st.integers(1, 6 if copies != "neighbour" else 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    drawn = rng.integers(0, end + end // 2 + 2, count)
    chosen = np.where(rng.random(count) < 0.3, rng.choice(times[times >= 0], count), drawn)
    at = np.sort(chosen)
    scale = max(1, end // 50)
    return Failures(
        tuple(at.tolist()),
        tuple(rng.integers(0, inputs.engines, count).tolist()),
        detect=draw(st.sampled_from([0, 1, scale, 5 * scale])),
        restart=draw(st.sampled_from([0, 1, 3 * scale, 10 * scale])),
        replicated=copies != "none",
        neighbour=copies == "neighbour",
        restore_block=draw(st.sampled_from([0, 1, 7])),
        lag=draw(st.sampled_from([0, 1, 3])),
        reroute=draw(st.integers(0, 3)) > 0,
    )
