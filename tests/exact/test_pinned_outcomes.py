"""Outcomes are what they were: a change of the simulators shows here, whether meant or not."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

from servetwin.types import Status
from support.hand import RUNS
from support.pinned import CASES, FILE, digests

PINNED: dict[str, dict[str, str]] = json.loads(FILE.read_text(encoding="utf-8"))


def test_every_case_is_pinned() -> None:
    assert list(PINNED) == list(CASES)


@pytest.mark.parametrize("engine", RUNS)
@pytest.mark.parametrize("case", CASES)
def test_an_outcome_is_what_it_was(case: str, engine: str) -> None:
    found = digests(RUNS[engine](CASES[case]()))
    assert {name: found.get(name) for name in PINNED[case]} == PINNED[case]


def test_the_cases_are_worth_pinning() -> None:
    """Requests complete, and what a case is about happens in it."""
    run = RUNS["kernel"]
    found = {name: run(make()) for name, make in CASES.items()}
    for name, outcome in found.items():
        assert np.count_nonzero(outcome.status == Status.OK) >= 70, name
    happens: dict[str, Callable[..., object]] = {
        "plain": lambda it: it.preemptions.any() and it.split_chunks,
        "sarathi": lambda it: it.split_chunks,
        "prefix caching": lambda it: it.cached_tokens.any(),
        "tiers": lambda it: all(tier.loaded for tier in it.tiers),
        "stages": lambda it: it.prefill_stage_wait.any() and it.decode_stage_wait.any(),
        "pools": lambda it: it.handover.any() and it.preemptions.any(),
        "failures": lambda it: it.retries.any() and it.losses.all(),
        "failures, copies": lambda it: it.losses[0] and not it.retries.any(),
        "failures, stages": lambda it: it.losses[0],
    }
    for name, does in happens.items():
        assert does(found[name]), name
    different = {str(digests(outcome)["finish"]) for outcome in found.values()}
    assert len(different) == len(CASES)
