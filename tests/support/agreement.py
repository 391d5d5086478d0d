"""Both simulators on the same drawn inputs, and whether enough happened in them."""

from __future__ import annotations

from collections import Counter

import pytest

from servetwin.sim import kernel, reference
from servetwin.sim.inputs import SimInputs
from servetwin.sim.outcome import Outcome
from support.outcomes import assert_conserved, assert_same

__all__ = ["agreed", "assert_often", "tell"]


def agreed(inputs: SimInputs) -> Outcome:
    """The outcome of both: the same to the last digit, and nothing is lost in it."""
    expected, found = reference.run(inputs, check=True), kernel.run(inputs)
    assert_same(expected, found)
    assert_conserved(inputs, found)
    return found


def assert_often(seen: Counter[str], share: float, *what: str) -> None:
    """Each of `what` was seen in at least that share of the examples."""
    for name in what:
        assert seen[name] >= share * seen["examples"], (name, dict(seen))


def tell(capsys: pytest.CaptureFixture[str], title: str, seen: Counter[str]) -> None:
    """Print what was seen, though pytest captures what tests print."""
    with capsys.disabled():
        print(f"\n{title}: {dict(seen)}")
