"""Where the costs of a run come from, of each kind of its engines."""

from __future__ import annotations

from typing import Any

from servetwin.types import CostModel, Deployment, MemoryPlan

__all__ = ["provenance_of"]


def provenance_of(deployment: Deployment, cost: CostModel) -> dict[str, Any]:
    """Level and source of costs, and what the memory of a device holds."""
    stated: dict[str, Any] = _of_one(cost)
    if cost.also:
        pairs = zip(deployment.also, cost.also, strict=True)
        stated["also"] = [{"gpu": group.accelerator.name, **_of_one(own)} for group, own in pairs]
    if cost.decode is not None:
        stated |= {f"decode_{name}": value for name, value in _of_one(cost.decode).items()}
    return stated


def _of_one(cost: CostModel) -> dict[str, Any]:
    return {
        "cost_model": {"level": cost.level, "source": cost.source},
        "memory_per_gpu": _memory(cost.memory),
    }


def _memory(plan: MemoryPlan) -> dict[str, float]:
    """Bytes on one device; with data-parallel ranks, of one rank."""
    return {
        "weights": plan.weights,
        "runtime": plan.runtime,
        "kv_cache": plan.kv,
        "kv_per_token": plan.kv_per_token,
    }
