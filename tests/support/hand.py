"""What runs that are worked out by hand have in common: iterations that last 100 ps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from servetwin.sim import kernel, reference
from servetwin.sim.inputs import SimInputs
from servetwin.sim.outcome import Outcome
from servetwin.types import IterationCost

__all__ = ["BY_TOKEN", "FLAT", "RUNS", "Run"]

Run = Callable[[SimInputs], Outcome]

FLAT = IterationCost(
    base=100,
    linear=np.array([0, 0], np.int64),
    linear_slope=0,
    head=np.array([0, 0], np.int64),
    head_slope=0,
    decode_seq=0,
    decode_ctx=0,
    prefill_chunk=0,
    prefill_attn=0,
)

BY_TOKEN = replace(FLAT, linear=np.array([0, 1], np.int64), linear_slope=1)
"""1 ps more for each token."""


def _checked(inputs: SimInputs) -> Outcome:
    return reference.run(inputs, check=True)


RUNS: dict[str, Run] = {"reference": _checked, "kernel": kernel.run}
"""Both simulators; the reference asserts its integrity after every event."""
