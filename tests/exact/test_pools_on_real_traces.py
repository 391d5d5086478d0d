"""Real traces on prefill and decode pools: both simulators agree, and nothing is lost."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from servetwin.catalog import find_accelerator, find_link, find_model
from servetwin.cost import derive, resolve_settings
from servetwin.sim import SimOptions, simulate
from servetwin.types import (
    CostModel,
    DecodePool,
    Deployment,
    KVTier,
    Parallelism,
    RequestTable,
    Status,
    Timeline,
)
from servetwin.workload import read, take

AZURE = "traces/azure_llm_2023/AzureLLMInferenceTrace_conv.csv"
MOONCAKE = "traces/mooncake/conversation_trace.jsonl"


def deployed(model: str, gpu: str, tp: int, replicas: tuple[int, int]) -> Deployment:
    """Pools with host memory below the first, and few seats in the second."""
    architecture, accelerator = find_model(model), find_accelerator(gpu)
    host = KVTier("host", 100 * 10**9, 20e9)
    engine = resolve_settings(architecture, accelerator, gpu_memory_utilization=0.95)
    return Deployment(
        architecture,
        accelerator,
        find_link(accelerator.link),
        Parallelism(tp=tp),
        replace(engine, kv_tiers=(host,)),
        replicas[0],
        "cache-aware",
        DecodePool(
            accelerator,
            find_link(accelerator.link),
            find_link("InfiniBand-HDR"),
            Parallelism(tp=tp),
            replace(engine, max_num_seqs=64),
            replicas[1],
            "least-tokens",
        ),
    )


def costs(deployment: Deployment) -> CostModel:
    return derive(deployment, 2000)


@pytest.mark.parametrize(
    ("trace", "deployment"),
    [
        (AZURE, ("Llama-3.1-8B", "A100-80GB", 1, (2, 2))),
        (MOONCAKE, ("Llama-3.1-70B", "H100-SXM", 4, (4, 4))),
    ],
)
def test_every_request_completes(
    data_dir: Path, trace: str, deployment: tuple[str, str, int, tuple[int, int]]
) -> None:
    target = deployed(*deployment)
    workload = read(data_dir / trace)
    run = simulate(target, workload, costs(target))
    table = run.requests
    assert np.all(table.status == Status.OK)
    assert run.timeline is not None
    decoded = run.timeline.decode_tokens
    assert int(decoded.sum()) == int((workload.output_tokens - 1).sum())
    in_prefill_pool = run.timeline.replica < target.replicas
    assert not decoded[in_prefill_pool].any()
    assert table.handover is not None
    assert np.all((table.handover > 0) == (workload.output_tokens > 1))


@pytest.mark.parametrize("trace", [AZURE, MOONCAKE])
@pytest.mark.parametrize("deployment", [("Llama-3.1-8B", "L4"), ("gemma-3-12b", "A100-80GB")])
def test_both_simulators_agree(data_dir: Path, trace: str, deployment: tuple[str, str]) -> None:
    """The small GPU preempts; Gemma has windows."""
    target = deployed(*deployment, 1, (2, 3))
    workload = take(read(data_dir / trace), 300)
    fast = simulate(target, workload, costs(target))
    slow = simulate(target, workload, costs(target), SimOptions(engine="reference"))
    assert fast.timeline is not None
    assert slow.timeline is not None
    for kind, one, other in (
        (RequestTable, fast.requests, slow.requests),
        (Timeline, fast.timeline, slow.timeline),
    ):
        for field in fields(kind):
            np.testing.assert_array_equal(
                getattr(one, field.name), getattr(other, field.name), field.name
            )
    assert fast.kv_tiers == slow.kv_tiers
    assert fast.token_gaps is not None
    assert slow.token_gaps is not None
    np.testing.assert_array_equal(fast.token_gaps.counts, slow.token_gaps.counts)
