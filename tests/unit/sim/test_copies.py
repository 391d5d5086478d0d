"""How much KV engines make beside the link of their copies, and how long a run lasted."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from servetwin.catalog import find_accelerator, find_link, find_model
from servetwin.cost import derive, resolve_settings
from servetwin.cost.kinds import cost_of_kinds
from servetwin.sim import SimOptions, simulate
from servetwin.sim.copies import copy_notes
from servetwin.sim.outcome import Outcome, SnapshotRows
from servetwin.types import (
    Deployment,
    FailureModel,
    Parallelism,
    Pipeline,
    ReplicaGroup,
    RunResult,
    Workload,
)
from servetwin.units import NOT_YET, PS_PER_S

MODEL, GPU = find_model("Llama-3.1-8B"), find_accelerator("A100-80GB")
LINK = find_link(GPU.link)
SLOW = replace(find_link("PCIe4"), bandwidth=1.0)
MIXED = Deployment(
    MODEL,
    GPU,
    LINK,
    settings=resolve_settings(MODEL, GPU, max_model_len=4096),
    also=(ReplicaGroup(GPU, LINK, Parallelism(tp=4), replicas=3),),
    failures=FailureModel(at=((0, 0),), copies=SLOW),
)
COST = cost_of_kinds(MIXED, lambda kind: derive(kind, 700))
BYTES = 131_072
"""Of one token's KV; a quarter of them on each GPU of the second kind."""
LOAD = Workload(
    arrival=np.array([1000, 1004], np.int64) * PS_PER_S,
    input_tokens=np.full(2, 400, np.int32),
    output_tokens=np.full(2, 100, np.int32),
    name="late",
    source="late",
)


def outcome(snapshots: SnapshotRows | None) -> Outcome:
    """Two requests, from 1000 s to 1010 s."""
    times = np.array([1000, 1004], np.int64) * PS_PER_S
    zero = np.zeros(2, np.int64)
    return Outcome(
        arrival=times,
        first_scheduled=times,
        first_token=times,
        finish=np.array([1005, 1010], np.int64) * PS_PER_S,
        preemptions=zero.astype(np.int32),
        replica=zero.astype(np.int32),
        status=zero.astype(np.int8),
        prefill_time=zero,
        decode_time=zero,
        preempted_time=zero,
        peak_blocks=1,
        gaps=zero,
        snapshots=snapshots,
    )


def test_the_mean_is_that_of_all_engines() -> None:
    """1000 tokens in 10 s on 4 engines, of which one keeps all bytes of a token on each GPU."""
    assert [own.memory.kv_per_token for own in COST.kinds] == [BYTES, BYTES / 4]
    (told,) = copy_notes(MIXED, COST, LOAD, outcome(None), 0)
    made = 1000 / 10 / 4 * (BYTES + 3 * BYTES / 4) / 4
    assert told.startswith(f"an engine makes {made / 1e9:.3g} GB/s of KV on each GPU on average")


@pytest.mark.parametrize(("tokens", "most"), [((300, 0, 0, 1000), 300.0), ((100, 0, 800, 0), 200)])
def test_the_busiest_engine_is_the_one_that_makes_most_bytes(
    tokens: tuple[int, ...], most: float
) -> None:
    columns = {field.name: np.zeros((1, 4), np.int64) for field in fields(SnapshotRows)}
    rows = SnapshotRows(**{**columns, "prefill_tokens": np.array([tokens])})
    (told,) = copy_notes(MIXED, COST, LOAD, outcome(rows), 2 * PS_PER_S)
    assert f"makes {most / 2 * BYTES / 1e9:.3g} GB/s" in told
    assert "in its busiest 2 s" in told


def test_a_run_lasts_from_its_first_arrival() -> None:
    found = outcome(None)
    assert found.span == 10 * PS_PER_S
    unknown = replace(found, arrival=np.array([NOT_YET, 1004 * PS_PER_S]))
    assert unknown.span == 6 * PS_PER_S
    never = np.full(2, NOT_YET, np.int64)
    assert replace(found, arrival=never, finish=never).span == 1


def test_stages_are_as_busy_whenever_requests_come() -> None:
    layout = Parallelism(pp=2, pipeline=Pipeline(microbatches=2))
    target = replace(MIXED, parallelism=layout, also=(), failures=None)

    def run(first: int) -> RunResult:
        load = replace(LOAD, arrival=LOAD.arrival - LOAD.arrival[0] + first * PS_PER_S)
        return simulate(target, load, derive(target, 700), SimOptions(engine="reference"))

    late, early = run(1000).pipeline, run(0).pipeline
    assert late is not None
    assert late == early
    assert late["bubbles"] < 0.9
