"""Deployments and workloads for closed forms: requests so far apart that they never meet."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from servetwin.catalog import find_accelerator, find_link, find_model
from servetwin.cost import derive, resolve_settings
from servetwin.sim.closed_form import (
    FragmentPlan,
    Kavier,
    Servetwin,
    find_kavier_gpu,
    find_kavier_model,
)
from servetwin.types import CostModel, Deployment, Workload
from servetwin.units import PS_PER_S

__all__ = ["KAVIER", "all_of", "column", "deployment", "ours", "workload"]

KAVIER = Kavier(find_kavier_model("Llama-3-8B"), find_kavier_gpu("A10"))


def deployment(
    model: str = "meta-llama/Meta-Llama-3-8B", gpu: str = "A100-80GB", **engine: object
) -> tuple[Deployment, CostModel]:
    found, accelerator = find_model(model), find_accelerator(gpu)
    settings = resolve_settings(found, accelerator, **engine)
    target = Deployment(found, accelerator, find_link(accelerator.link), settings=settings)
    return target, derive(target, 1000)


def ours(**engine: object) -> Servetwin:
    return Servetwin(*deployment(**engine))  # type: ignore[arg-type]


def workload(*rows: tuple[int, int], gap: int = 1000 * PS_PER_S) -> Workload:
    """Rows of (input, output), so far apart that they never meet."""
    given, made = (np.array(column, np.int32) for column in zip(*rows, strict=True))
    return Workload(np.arange(len(rows), dtype=np.int64) * gap, given, made)


def column(*tokens: int) -> NDArray[np.int64]:
    return np.array(tokens, np.int64)


def all_of(plan: FragmentPlan, rows: int = 1000) -> list[tuple[int, int, int]]:
    """Task, milliseconds and use of each fragment, asked for in portions of `rows`."""
    found: list[tuple[int, int, int]] = []
    for batch in plan.batches(rows):
        assert len(batch) <= rows
        found += zip(batch.task.tolist(), batch.duration_ms.tolist(), batch.usage.tolist(),
                     strict=True)  # fmt: skip
    return found
