"""What any outcome must satisfy, and when two are the same."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from servetwin.sim.failures import LOSSES
from servetwin.sim.inputs import SimInputs
from servetwin.sim.outcome import Outcome
from servetwin.types import Status
from servetwin.units import NOT_YET

__all__ = ["assert_conserved", "assert_parts", "assert_same"]


def assert_same(expected: Outcome, found: Outcome) -> None:
    for field in fields(Outcome):
        if field.name in ("events", "snapshots"):
            continue  # the kernel takes fewer events; snapshots follow
        np.testing.assert_array_equal(
            getattr(found, field.name), getattr(expected, field.name), err_msg=field.name
        )
    assert (found.snapshots is None) == (expected.snapshots is None)
    if found.snapshots is not None and expected.snapshots is not None:
        for field in fields(found.snapshots):
            np.testing.assert_array_equal(
                getattr(found.snapshots, field.name),
                getattr(expected.snapshots, field.name),
                err_msg=f"snapshots.{field.name}",
            )


def assert_parts(outcome: Outcome) -> None:
    """No part of a latency is negative, and no request spends longer on all than it took."""
    ok = outcome.status == Status.OK
    zeros = np.zeros_like(outcome.finish)
    parts = [
        (zeros if column is None else column)[ok]
        for column in (
            outcome.first_scheduled - outcome.arrival,
            outcome.prefill_time,
            outcome.prefill_stage_wait,
            outcome.decode_time,
            outcome.decode_stage_wait,
            outcome.prefill_outage,
            outcome.decode_outage,
            outcome.preempted_time,
            outcome.handover,
        )
    ]
    assert all(np.all(part >= 0) for part in parts)
    assert np.all(sum(parts, zeros[ok]) <= (outcome.finish - outcome.arrival)[ok])


def assert_conserved(inputs: SimInputs, outcome: Outcome) -> None:
    """Every request finishes or is reported; every token is computed; no block is left."""
    ok = outcome.status == Status.OK
    assert np.all(ok | (outcome.status == Status.REJECTED))
    rejected = ~ok
    assert np.all(outcome.finish[rejected] == NOT_YET)
    assert np.all(outcome.replica[rejected] == -1)
    assert np.all(outcome.arrival[ok] <= outcome.first_scheduled[ok])
    assert np.all(outcome.first_scheduled[ok] < outcome.first_token[ok])
    assert np.all(outcome.first_token[ok] <= outcome.finish[ok])
    assert_parts(outcome)
    peaks = (outcome.peak_blocks, *outcome.also_peak_blocks)
    rooms = [group.capacity_blocks for group in inputs.groups]
    assert all(peak <= room for peak, room in zip(peaks, rooms, strict=True))
    if inputs.token_gaps:
        assert outcome.gaps.sum() == int((inputs.workload.output_tokens[ok] - 1).sum())
    rows = outcome.snapshots
    if rows is not None and rows.running.size:
        assert not rows.running[-1].any()
        assert not rows.waiting[-1].any()
        assert not rows.kv_blocks[-1].any()
        assert rows.kv_blocks.max() <= max(rooms)
        computed = int(rows.prefill_tokens.sum()) + int(rows.decode_tokens.sum())
        if outcome.cached_tokens is not None:
            computed += int(outcome.cached_tokens[ok].sum())
        total = int((inputs.workload.input_tokens + inputs.workload.output_tokens - 1)[ok].sum())
        if outcome.losses is not None:
            lost = dict(zip(LOSSES, outcome.losses.tolist(), strict=True))
            # The first of a request's tokens comes with its prompt.
            total += lost["prompt_tokens"] + lost["output_tokens"] - lost["prompts"]
            if outcome.cached_tokens is not None and np.any(outcome.retries):
                return  # hits of a second beginning are counted nowhere
        assert computed >= total or outcome.preemptions.any()
        if outcome.preemptions.sum() == 0:
            assert computed == total
