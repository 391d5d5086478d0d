"""Real traces on real deployments: everything completes, and both simulators agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from servetwin.catalog import find_accelerator, find_link, find_model
from servetwin.cost import derive, resolve_settings
from servetwin.sim import SimOptions, simulate
from servetwin.types import CostModel, Deployment, Parallelism, Status
from servetwin.workload import read, take

AZURE = "traces/azure_llm_2023/AzureLLMInferenceTrace_conv.csv"
MOONCAKE = "traces/mooncake/conversation_trace.jsonl"


def deployed(model: str, gpu: str, tp: int = 1, replicas: int = 1) -> tuple[Deployment, CostModel]:
    architecture, accelerator = find_model(model), find_accelerator(gpu)
    deployment = Deployment(
        architecture,
        accelerator,
        find_link(accelerator.link),
        Parallelism(tp=tp),
        resolve_settings(architecture, accelerator),
        replicas,
        "least-outstanding" if replicas > 1 else "round-robin",
    )
    return deployment, derive(deployment, 2000)


@pytest.mark.parametrize(
    ("trace", "requests", "deployment"),
    [
        (AZURE, 19_366, ("Llama-3.1-8B", "A100-80GB")),
        (MOONCAKE, 12_031, ("Llama-3.1-70B", "H100-SXM", 4, 8)),
    ],
)
def test_every_request_completes(
    data_dir: Path, trace: str, requests: int, deployment: tuple[str, str]
) -> None:
    target, cost = deployed(*deployment)
    workload = read(data_dir / trace)
    run = simulate(target, workload, cost)
    assert len(run.requests) == requests
    assert np.all(run.requests.status == Status.OK)
    assert run.timeline is not None
    decoded = int((workload.output_tokens - 1).sum())
    assert int(run.timeline.decode_tokens.sum()) == decoded
    assert run.kv_peak_blocks <= run.kv_capacity_blocks


@pytest.mark.parametrize("trace", [AZURE, MOONCAKE])
@pytest.mark.parametrize("deployment", [("Llama-3.1-8B", "L4"), ("gemma-3-12b", "A100-80GB")])
def test_both_simulators_agree(data_dir: Path, trace: str, deployment: tuple[str, str]) -> None:
    """The small GPU preempts; Gemma has windows."""
    target, cost = deployed(*deployment, replicas=2)
    workload = take(read(data_dir / trace), 400)
    fast = simulate(target, workload, cost)
    slow = simulate(target, workload, cost, SimOptions(engine="reference"))
    for column in ("first_scheduled", "first_token", "finish", "preemptions", "replica", "status"):
        np.testing.assert_array_equal(
            getattr(fast.requests, column), getattr(slow.requests, column)
        )
    assert fast.timeline is not None
    assert slow.timeline is not None
    for column in ("running", "waiting", "kv_blocks", "prefill_tokens", "decode_tokens"):
        np.testing.assert_array_equal(
            getattr(fast.timeline, column), getattr(slow.timeline, column)
        )
    assert fast.token_gaps is not None
    assert slow.token_gaps is not None
    np.testing.assert_array_equal(fast.token_gaps.counts, slow.token_gaps.counts)
