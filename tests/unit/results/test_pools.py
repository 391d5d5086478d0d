"""What a run with a prefill pool and a decode pool leaves behind."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from servetwin.catalog import find_accelerator, find_link, find_model
from servetwin.cost import derive, resolve_settings
from servetwin.cost.energy import energy_of
from servetwin.report import figures
from servetwin.report.wording import outcome
from servetwin.results import read_run, write_run
from servetwin.results.metrics import compute
from servetwin.sim import SimOptions, simulate
from servetwin.types import (
    BlockHashes,
    CostModel,
    DecodePool,
    Deployment,
    KVTier,
    Link,
    RequestTable,
    RunResult,
    Workload,
)
from servetwin.units import PS_PER_S


def deployment() -> Deployment:
    """Few KV blocks in the decode pool, a slow link, and host memory below the prefill pool."""
    model, fast, slow = (
        find_model("meta-llama/Llama-3.1-8B"),
        find_accelerator("H100-SXM"),
        find_accelerator("A100-80GB"),
    )

    def settings(blocks: int, *tiers: KVTier):  # type: ignore[no-untyped-def]
        return resolve_settings(
            model, fast, num_gpu_blocks_override=blocks, max_model_len=1000, kv_tiers=tiers
        )

    return Deployment(
        model,
        fast,
        find_link(fast.link),
        settings=settings(90, KVTier("host", 10**11, 1e11)),
        decode=DecodePool(
            slow,
            find_link(slow.link),
            transfer=Link("wire", 2e9, 1e-5),
            settings=settings(120),
            replicas=2,
        ),
    )


def workload() -> Workload:
    rng = np.random.default_rng(0)
    inputs = rng.integers(10, 300, 200).astype(np.int32)
    family, blocks = rng.integers(0, 12, 200), inputs // 16
    ids = [100 * f + np.arange(count) for f, count in zip(family, blocks, strict=True)]
    return Workload(
        arrival=np.sort(rng.integers(0, 5 * PS_PER_S, 200)),
        input_tokens=inputs,
        output_tokens=rng.integers(1, 200, 200).astype(np.int32),
        block_hashes=BlockHashes(np.concatenate(([0], np.cumsum(blocks))), np.concatenate(ids), 16),
    )


@pytest.fixture(scope="module")
def cost() -> CostModel:
    return derive(deployment(), 300)


@pytest.fixture(scope="module")
def run(cost: CostModel) -> RunResult:
    options = SimOptions(engine="reference", snapshot_interval=PS_PER_S // 10)
    return simulate(deployment(), workload(), cost, options)


def test_parts_of_latencies_add_up_and_transfer_is_one(run: RunResult) -> None:
    metrics = compute(run)
    found, table = metrics["attribution"], run.requests
    assert metrics["preemptions"] > 0
    assert table.kv_transfer is not None
    assert table.handover_transfer is not None
    assert np.any(table.kv_transfer > table.handover_transfer), "a tier must have been read"
    e2e = (table.finish - table.arrival) / PS_PER_S
    ttft = (table.first_token - table.arrival) / PS_PER_S
    for name, latency in (("e2e", e2e), ("ttft", ttft)):
        assert sum(found[name]["all"].values()) == pytest.approx(latency.mean())
        for parts in found[name].values():
            assert min(parts.values()) >= 0
    assert table.handover is not None
    loads = table.kv_transfer - table.handover_transfer
    before = np.minimum(loads, table.first_scheduled - table.arrival)
    assert found["ttft"]["all"]["transfer"] == pytest.approx(before.mean() / PS_PER_S)
    whole = (before + table.handover).mean() / PS_PER_S
    assert found["e2e"]["all"]["transfer"] == pytest.approx(whole)


def test_a_run_with_pools_comes_back_as_it_was(run: RunResult, tmp_path: Path) -> None:
    content = write_run(run, tmp_path)
    back = read_run(tmp_path)
    for field in fields(RequestTable):
        np.testing.assert_array_equal(
            getattr(back.requests, field.name), getattr(run.requests, field.name), field.name
        )
    assert back.kv_decode == run.kv_decode
    assert content["metrics"]["kv_cache"]["decode"]["first"] == 1
    assert content["config"]["decode_gpu"] == "A100-80GB"
    assert content["provenance"]["decode_memory_per_gpu"]["weights"] > 0


def test_a_trace_shows_both_replicas_of_a_request_and_the_transfer(
    run: RunResult, tmp_path: Path
) -> None:
    write_run(run, tmp_path, chrome_trace=True)
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    names = {event["args"]["name"] for event in events if event["ph"] == "M"}
    assert names == {"replica 0", "replica 1", "replica 2"}
    slices = defaultdict(list)
    for event in events:
        if event["ph"] in "Xbe":
            slices[event["ph"], event["name"]].append(event)
    moved = int(np.sum(run.requests.output_tokens > 1))
    assert len(slices["b", "KV transfer"]) == len(slices["e", "KV transfer"]) == moved
    assert len(slices["X", "decode"]) == moved
    assert {event["pid"] for event in slices["X", "prefill"]} == {1}
    assert {event["pid"] for event in slices["X", "decode"]} == {2, 3}
    lanes = defaultdict(list)
    for event in slices["X", "decode"]:
        lanes[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    for spans in lanes.values():
        spans.sort()
        assert all(end <= start for (_, end), (start, _) in pairwise(spans))


def test_each_pool_draws_the_power_of_its_own_devices(run: RunResult, cost: CostModel) -> None:
    report = energy_of(run, deployment(), cost)
    assert run.timeline is not None
    gpus = [find_accelerator(name) for name in ("H100-SXM", "A100-80GB", "A100-80GB")]
    for replica, gpu in enumerate(gpus):
        watts = report.power_w[run.timeline.replica == replica]
        assert watts.min() > 0
        assert watts.max() <= (gpu.max_watts or 0)
    prices = [gpu.price_per_hour or 0 for gpu in gpus]
    seconds = float(run.requests.finish.max()) / PS_PER_S
    assert report.footprint.usd == pytest.approx(sum(prices) * seconds / 3600)


def test_the_figures_and_words_tell_the_pools_apart(run: RunResult) -> None:
    chart = figures.kv_over_time(run)
    assert chart is not None
    text = json.dumps(chart.to_dict())
    assert "prefill pool" in text
    assert "decode pool" in text
    told = outcome(compute(run))["KV cache"]
    assert "on one prefill replica" in told
    assert "on one decode replica" in told


def test_slower_iterations_are_slower_in_both_pools(run: RunResult, cost: CostModel) -> None:
    from servetwin.cost.scaling import scaled

    slow = scaled(cost, 2.0)
    assert slow.decode is not None
    assert cost.decode is not None
    assert slow.decode.iteration.base == 2 * cost.decode.iteration.base
    options = SimOptions(engine="reference", snapshot_interval=0)
    later = simulate(deployment(), replace(workload()), slow, options)
    assert later.requests.finish.max() > run.requests.finish.max()
