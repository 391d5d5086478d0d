"""Failures of two pools worked out by hand: iterations last 100 ps, and a transfer here 12 ps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from servetwin.sim.failures import LOSSES, Failures
from servetwin.sim.inputs import DecodeInputs, SimInputs
from servetwin.sim.outcome import Outcome
from servetwin.sim.pools import TransferLink
from servetwin.types import EngineSettings, Workload
from support.hand import FLAT, Run

NEVER = Failures((), (), detect=10, restart=20)


def pools(prefill: Failures, decode: Failures, decoders: int = 1) -> SimInputs:
    """One prefill engine, and a request of 20 tokens at 50 that wants 3."""
    load = Workload(np.array([50]), np.array([20], np.int32), np.array([3], np.int32))
    engine = SimInputs(
        workload=load,
        settings=EngineSettings(block_size=10, async_scheduling=False),
        cost=FLAT,
        capacity_blocks=100,
        max_total_tokens=1000,
        replicas=1,
        router="round-robin",
        seed=0,
        snapshot_interval=0,
        token_gaps=True,
        failures=prefill,
    )
    target = replace(engine, replicas=decoders, failures=decode)
    return replace(engine, decode=DecodeInputs(target, TransferLink(block_ps=5, latency_ps=2)))


def at(time: int) -> Failures:
    return replace(NEVER, times=(time,), engines=(0,))


def losses(outcome: Outcome) -> dict[str, int]:
    assert outcome.losses is not None
    return {name: lost for name, lost in zip(LOSSES, outcome.losses.tolist(), strict=True) if lost}


def parts(outcome: Outcome) -> dict[str, int]:
    names = ("prefill_time", "handover", "decode_time", "preempted_time", "decode_outage")
    return {name: int(getattr(outcome, name)[0]) for name in names}


def test_nothing_fails(run: Run) -> None:
    found = run(pools(NEVER, NEVER))
    assert (found.first_token.tolist(), found.finish.tolist()) == ([150], [362])


def test_a_decode_engine_that_fails_loses_prompts_too(run: Run) -> None:
    found = run(pools(NEVER, at(300), decoders=2))
    assert found.outages is not None
    assert found.outages.tolist() == [[300, 1, 330]]
    # Two tokens are lost; at 310 the failure is known, and the other engine computes everything.
    assert found.replica.tolist() == [2]
    assert found.finish.tolist() == [310 + 300]
    lost = {"prompts": 1, "prompt_tokens": 20, "output_tokens": 2}
    assert losses(found) == {"interrupted": 1, **lost, "rerouted": 1}
    assert parts(found) == {
        "prefill_time": 100,
        "handover": 12,
        "decode_time": 100,
        "preempted_time": 0,
        "decode_outage": 610 - 262,
    }


def test_with_copies_a_decode_engine_is_late(run: Run) -> None:
    found = run(pools(NEVER, replace(at(300), replicated=True)))
    assert found.finish.tolist() == [330 + 100]
    assert losses(found) == {"interrupted": 1}
    assert parts(found)["decode_outage"] == 330 - 262


def test_what_was_to_move_from_a_failed_engine_is_computed_where_it_is_wanted(run: Run) -> None:
    found = run(pools(at(155), NEVER))
    # The transfer from 150 to 162 is void; the decode engine computes the prompt from 155 on.
    assert found.first_token.tolist() == [150]
    assert found.finish.tolist() == [155 + 300]
    assert losses(found) == {"prompts": 1, "prompt_tokens": 20, "output_tokens": 1}
    assert parts(found) == {
        "prefill_time": 100,
        "handover": 0,
        "decode_time": 100,
        "preempted_time": 0,
        "decode_outage": 355 - 150,
    }
    assert found.handover_transfer is not None
    assert found.handover_transfer.tolist() == [0]
    copied = replace(at(155), replicated=True)
    assert run(pools(copied, NEVER)).finish.tolist() == [362]


def test_what_was_to_move_to_a_failed_engine_moves_again(run: Run) -> None:
    found = run(pools(NEVER, at(155)))
    # Its blocks are still on the prefill engine, and come again from 185 to 197.
    assert found.finish.tolist() == [197 + 200]
    assert losses(found) == {}
    assert parts(found)["handover"] == 197 - 150
    assert found.retries is not None
    assert found.retries.tolist() == [0]


@pytest.mark.parametrize("time", [100, 149])
def test_a_prompt_under_way_begins_anew_in_its_pool(run: Run, time: int) -> None:
    found = run(pools(at(time), NEVER))
    assert found.first_token.tolist() == [time + 30 + 100]
    assert found.finish.tolist() == [time + 130 + 212]
    assert losses(found) == {"interrupted": 1}
