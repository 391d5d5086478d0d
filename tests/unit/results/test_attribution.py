"""The parts of a latency add up to it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from servetwin.catalog import find_accelerator, find_link, find_model
from servetwin.cost import derive, resolve_settings
from servetwin.report.wording import outcome
from servetwin.results import summary
from servetwin.results.attribution import PARTS, attribution
from servetwin.results.metrics import compute
from servetwin.sim import SimOptions, simulate
from servetwin.types import Deployment, RunResult, Workload
from servetwin.units import PS_PER_S


@pytest.fixture(scope="module")
def run() -> RunResult:
    """A crowded engine, so that requests queue and are preempted."""
    model, accelerator = find_model("meta-llama/Llama-3.1-8B"), find_accelerator("A100-80GB")
    settings = resolve_settings(model, accelerator, num_gpu_blocks_override=120, max_model_len=1000)
    deployment = Deployment(model, accelerator, find_link(accelerator.link), settings=settings)
    rng = np.random.default_rng(0)
    load = Workload(
        arrival=np.sort(rng.integers(0, 5 * PS_PER_S, 200)),
        input_tokens=rng.integers(10, 300, 200).astype(np.int32),
        output_tokens=rng.integers(1, 200, 200).astype(np.int32),
    )
    return simulate(deployment, load, derive(deployment, 300), SimOptions(engine="reference"))


def test_parts_add_up_and_none_is_negative(run: RunResult) -> None:
    metrics = compute(run)
    found = metrics["attribution"]
    assert metrics["preemptions"] > 0
    table = run.requests
    e2e = (table.finish - table.arrival) / PS_PER_S
    ttft = (table.first_token - table.arrival) / PS_PER_S
    for name, latency in (("e2e", e2e), ("ttft", ttft)):
        slow = latency[latency >= np.percentile(latency, 99)]
        assert sum(found[name]["all"].values()) == pytest.approx(latency.mean())
        assert sum(found[name]["p99"].values()) == pytest.approx(slow.mean())
        for parts in found[name].values():
            assert min(parts.values()) >= 0
    assert tuple(found["e2e"]["all"]) == PARTS
    absent = ("frontend", "transfer", "stage_wait", "outage")
    assert all((found["e2e"]["all"][part] > 0) == (part not in absent) for part in PARTS)


@pytest.mark.parametrize("part", ["stage_wait", "outage"])
def test_some_parts_belong_to_both_latencies(run: RunResult, part: str) -> None:
    table = run.requests
    whole = attribution(table, compute(run))
    assert whole is not None
    assert table.prefill_time is not None
    assert table.decode_time is not None
    tenth, half = table.prefill_time // 10, table.decode_time // 2
    columns = {f"prefill_{part}": tenth, f"decode_{part}": half}
    changed = replace(
        table,
        prefill_time=table.prefill_time - tenth,
        decode_time=table.decode_time - half,
        **columns,
    )
    found = attribution(changed, compute(run))
    assert found is not None
    for name, least in (("ttft", tenth), ("e2e", tenth + half)):
        assert found[name]["all"][part] == pytest.approx(least.mean() / PS_PER_S)
        for group in ("all", "p99"):
            parts, before = found[name][group], whole[name][group]
            assert sum(parts.values()) == pytest.approx(sum(before.values()))
            same = set(parts) - {"own_prefill", "decode", part}
            assert all(parts[other] == pytest.approx(before[other]) for other in same)


def test_each_request_has_time_left_for_queueing_and_the_prefill_of_others(run: RunResult) -> None:
    table = run.requests
    own = table.prefill_time + table.decode_time + table.preempted_time
    assert np.all(own <= table.finish - table.first_scheduled)
    assert np.all(table.prefill_time > 0)


def test_the_slow_end_is_told_in_words(run: RunResult) -> None:
    told = outcome(summary(run)["metrics"])
    assert "queueing" in told["Slow TTFT"]
    assert "% decode" in told["Slow E2E"]


def test_a_measured_run_does_not_know(run: RunResult) -> None:
    bare = replace(run.requests, prefill_time=None, decode_time=None, preempted_time=None)
    assert attribution(bare, compute(run)) is None
    assert "Slow TTFT" not in outcome(compute(replace(run, requests=bare)))
