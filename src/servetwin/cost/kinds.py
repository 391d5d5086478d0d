"""Cost of a deployment whose engines are of several kinds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from servetwin.cost.scaling import scaled
from servetwin.types import CostModel, Deployment

__all__ = ["cost_of_kinds"]


def cost_of_kinds(deployment: Deployment, build: Callable[[Deployment], CostModel]) -> CostModel:
    """Cost of the first kind, which holds those of the others; `build` gives one kind's.

    `build` need not look at speeds: iterations are made longer or shorter here.
    """

    def of_pool(pool: Deployment) -> CostModel:
        first, *others = (_at_speed(group, build) for group in pool.groups)
        return replace(first, also=tuple(others))

    first, *others = map(of_pool, deployment.pools)
    return replace(first, decode=others[0]) if others else first


def _at_speed(group: Deployment, build: Callable[[Deployment], CostModel]) -> CostModel:
    cost = build(replace(group, speed=1.0))
    if group.speed == 1.0:
        return cost
    note = (
        f"speed {group.speed:g}: iterations are taken to last {1 / group.speed:.3g} times as long"
    )
    return replace(scaled(cost, 1 / group.speed), notes=(*cost.notes, note))
