"""The ways to spend one budget: aggregated engines, or prefill and decode pools."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from servetwin.cost import rank_limits
from servetwin.errors import InputError, counted
from servetwin.types import CostModel, Deployment

__all__ = ["Engines", "Layout", "layouts_of", "resized"]

ROUNDING = 1e-9
"""Of a budget, so that a sum of equal prices does not exceed it."""


@dataclass(frozen=True)
class Engines:
    """One engine, or one prefill and one decode engine, with costs; counts do not matter yet."""

    deployment: Deployment
    cost: CostModel
    variant: str = ""
    """What tells it from others of the same kind."""


@dataclass(frozen=True)
class Layout:
    """One way to spend the budget."""

    kind: str
    """Numbers of engines, in words."""
    prefill: int
    """Engines that compute prompts; 0 where all do everything."""
    decode: int
    """Engines that decode; of an aggregated layout, all."""
    deployment: Deployment
    cost: CostModel
    variants: tuple[str, ...] = ()
    """What tells it from others with these numbers."""
    tuned: bool = False
    """Whether its budget of tokens is another than the engines' own."""

    @property
    def name(self) -> str:
        """`8 aggregated (512)`: unique among the layouts of a study."""
        return f"{self.kind} ({', '.join(self.variants)})" if self.variants else self.kind

    @property
    def aggregated(self) -> bool:
        """Whether every engine does both."""
        return self.deployment.decode is None

    @property
    def tokens(self) -> int:
        """Budget of an iteration of the engines that compute prompts, as the flag has it."""
        return rank_limits(self.deployment).max_num_batched_tokens

    @property
    def price(self) -> float | None:
        """US dollars an hour; None where the catalog has no price."""
        return _dollars(self.deployment)


def resized(layout: Layout, engines: Engines) -> Layout:
    """The same numbers of `engines`, which are alike but for their budget of tokens."""
    deployment = replace(engines.deployment, replicas=layout.deployment.replicas)
    if deployment.decode is not None:
        deployment = replace(deployment, decode=replace(deployment.decode, replicas=layout.decode))
    other = replace(layout, deployment=deployment, cost=engines.cost)
    return replace(other, variants=(*layout.variants, str(other.tokens)), tuned=True)


def layouts_of(whole: Engines, pools: Engines, engines: int) -> list[Layout]:
    """All that `engines` aggregated ones of the kind `whole` cost: these, and all splits.

    Where engines of both pools cost the same, splits are of `engines` engines. Otherwise each
    number of prefill engines is joined by as many decode engines as the rest of the money buys,
    and engines of the decode pool's kind are there aggregated, too.
    Raises InputError where prices are needed and unknown, or no split is possible.
    """
    first, second = pools.deployment.pools
    if first.accelerator == second.accelerator:
        prices = (float(first.parallelism.devices), float(second.parallelism.devices))
    else:
        prices = (_price(first), _price(second))
    budget = engines * prices[0] * (1 + ROUNDING)
    found = [_aggregated(whole, engines)]
    if prices[0] != prices[1] and budget >= prices[1] and pools.cost.decode is not None:
        other = Engines(second, pools.cost.decode, second.accelerator.name)
        found.append(_aggregated(other, int(budget / prices[1])))
    splits = list(_splits(pools, budget, prices))
    if not splits and prices[0] < prices[1]:
        unit = "GPUs" if first.accelerator == second.accelerator else "$/h"
        needed = 1 + math.ceil(prices[1] / prices[0] * (1 - ROUNDING))
        raise InputError(
            f"--engines {engines}: the money of {counted(engines, 'prefill engine')} "
            f"({engines * prices[0]:g} {unit}) does not buy one of them and a decode engine "
            f"({prices[0]:g} + {prices[1]:g} {unit}); give --engines {needed} or more"
        )
    if not splits:
        raise InputError(
            f"{counted(engines, 'engine')}: too few for a prefill and a decode pool; give "
            "--engines 2 or more"
        )
    return [*found, *splits]


def _splits(pools: Engines, budget: float, prices: tuple[float, float]) -> Iterator[Layout]:
    pool = pools.deployment.decode
    assert pool is not None
    prefill = 1
    while (decode := int((budget - prefill * prices[0]) / prices[1])) >= 1:
        deployment = replace(
            pools.deployment, replicas=prefill, decode=replace(pool, replicas=decode)
        )
        kind = f"{prefill} prefill + {decode} decode"
        yield Layout(kind, prefill, decode, deployment, pools.cost)
        prefill += 1


def _aggregated(kind: Engines, count: int) -> Layout:
    deployment = replace(kind.deployment, replicas=count)
    variants = (kind.variant,) if kind.variant else ()
    return Layout(f"{count} aggregated", 0, count, deployment, kind.cost, variants)


def _price(engine: Deployment) -> float:
    price = _dollars(replace(engine, replicas=1))
    if price is None:
        raise InputError(
            f"{engine.accelerator.name}: the catalog has no price, so that nobody can say how many "
            "engines cost the same; choose GPUs with prices (servetwin catalog gpus)"
        )
    return price


def _dollars(deployment: Deployment) -> float | None:
    """US dollars an hour of all devices."""
    total = 0.0
    for pool in deployment.pools:
        price = pool.accelerator.price_per_hour
        if price is None:
            return None
        total += pool.devices * price
    return total
