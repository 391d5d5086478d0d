"""Speculative decoding by its acceptance length."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from servetwin.catalog import find_accelerator, find_link, find_model
from servetwin.cost import derive, resolve_settings
from servetwin.errors import InputError
from servetwin.sim import SimOptions, simulate
from servetwin.types import Deployment, IterationCost, Workload

MODEL, GPU = find_model("meta-llama/Llama-3.1-8B"), find_accelerator("H100-SXM")
NO_TIMELINE = SimOptions(snapshot_interval=0)


def deployment(**settings: float) -> Deployment:
    # Graphs of one size: by default they have room for what is drafted.
    graphs = {"max_num_seqs": 64, "max_cudagraph_capture_size": 512}
    resolved = resolve_settings(MODEL, GPU, **graphs, **settings)
    return Deployment(MODEL, GPU, find_link(GPU.link), settings=resolved)


def alone(cost: IterationCost, batch: int) -> int:
    """Picoseconds of an iteration that decodes `batch` sequences, without attention."""
    extra = 0 if cost.speculation is None else int(cost.speculation[batch])
    return cost.base + int(cost.linear[batch]) + int(cost.head[batch]) + extra


def test_nothing_drafted_changes_nothing() -> None:
    assert derive(deployment(), 500).iteration.speculation is None


@pytest.mark.parametrize(("drafted", "accepted", "share"), [(1, 1.8, 0.0), (3, 2.5, 0.1)])
def test_an_iteration_is_a_verification_and_its_drafts(
    drafted: int, accepted: float, share: float
) -> None:
    plain = derive(deployment(), 500).iteration
    told = {"speculative_tokens": drafted, "acceptance_length": accepted, "draft_share": share}
    found = derive(deployment(**told), 500).iteration
    for batch in (1, 7, 16):
        verified = batch * (1 + drafted)
        whole = plain.base + int(plain.linear[verified]) + int(plain.head[verified])
        one = (share or 1 / MODEL.layers) * int(plain.linear[batch]) + int(plain.head[batch])
        assert alone(found, batch) == pytest.approx((whole + drafted * one) / accepted, abs=1)
    assert found.decode_ctx == round(plain.decode_ctx / accepted)
    assert found.prefill_attn == plain.prefill_attn
    assert found.linear is not None
    assert np.array_equal(found.linear, plain.linear)


def test_one_sequence_decodes_almost_as_much_faster_as_tokens_are_accepted() -> None:
    # Weights are read once for all drafted tokens, so a single sequence gains nearly all.
    one = Workload(np.zeros(1, np.int64), np.full(1, 64, np.int32), np.full(1, 400, np.int32))

    def tpot(**told: float) -> float:
        where = deployment(**told)
        table = simulate(where, one, derive(where, 300), NO_TIMELINE).requests
        return float(table.finish[0] - table.first_token[0]) / 399

    gain = tpot() / tpot(speculative_tokens=3, acceptance_length=2.5)
    assert 1.8 < gain < 2.5


def test_a_full_batch_gains_less_than_a_single_sequence() -> None:
    plain = derive(deployment(), 500).iteration
    found = derive(deployment(speculative_tokens=3, acceptance_length=2.0), 500).iteration
    gains = [alone(plain, batch) / alone(found, batch) for batch in (1, 64)]
    assert gains[0] > gains[1]


def test_an_acceptance_that_is_not_possible() -> None:
    with pytest.raises(InputError, match="must lie between 1 and 4"):
        deployment(speculative_tokens=3, acceptance_length=4.5)
    with pytest.raises(ValueError, match="must lie between 1 and 1"):
        replace(deployment().settings, acceptance_length=1.5)
