"""A measured point: what was run, what was measured, and what had to be assumed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from servetwin.catalog import find_accelerator, find_link, find_model
from servetwin.cost import resolve_settings
from servetwin.cost.curves import VLLM
from servetwin.types import DecodePool, Deployment, Link, Parallelism, Workload
from servetwin.workload.arrivals import AtOnce, ClosedLoop
from servetwin.workload.generate import GeneratorSpec, generate
from servetwin.workload.lengths import Fixed, Lengths, Uniform

__all__ = [
    "METRICS",
    "MeasuredSet",
    "Point",
    "at_once",
    "between",
    "closed_loop",
    "deploy",
    "in_pools",
    "one",
]

Floats = NDArray[np.float64]

METRICS = {
    "ttft": "TTFT",
    "tpot": "TPOT",
    "e2e": "E2E",
    "throughput": "tokens/s",
    "energy": "J/token",
}
"""Metrics of the board and their heads. Seconds, tokens/s and joules."""


@dataclass(frozen=True)
class Point:
    """One run. `measured` holds, by metric, one value, or one for each request."""

    group: str
    label: str
    deployment: Deployment
    workload: Callable[[], Workload]
    measured: Mapping[str, Floats]
    statistics: Mapping[str, str] = field(default_factory=dict)
    """What each value is: see `predict.STATISTICS`; the mean over requests unless named."""
    fitted: frozenset[str] = frozenset()
    """Metrics on whose measured values something of ours was fitted."""
    first_token_waits: bool = False
    """With pools: the decode engine sends the first token, too, once it has the request."""
    host: str = VLLM
    """Whose host launches operations, see `cost.curves_for`; "" for one that takes no time."""
    behind_frontend: bool = False
    """Measured by a client: requests pass an HTTP server and a tokeniser on their way."""
    polled: int = 0
    """Iterations after which the engine looks for new requests, which wait half as long."""
    profiles: str = ""
    """Folder of kernel timings, within that of all profiles, for a cost of level `profiled`."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """`gpu` and `model` as the source names them, and whatever else a reader may sort by."""


@dataclass(frozen=True)
class MeasuredSet:
    """Everything read from one folder of measured data."""

    name: str
    points: list[Point]
    left_out: Counter[str] = field(default_factory=Counter)
    """Rows that are not on the board, by the reason."""
    said: tuple[str, ...] = ()
    """What the source states of its metrics, and what had to be assumed."""


def one(**values: float | None) -> dict[str, Floats]:
    """Measured values of a point with one number a metric; those of None are left out."""
    return {
        name: np.array([value], dtype=np.float64)
        for name, value in values.items()
        if value is not None
    }


def deploy(
    model: str, gpu: str, parallel: Parallelism | None = None, replicas: int = 1, **engine: Any
) -> Deployment:
    """A deployment by catalog names, with the engine's defaults for what is not given."""
    return _deploy(model, gpu, parallel or Parallelism(), replicas, tuple(sorted(engine.items())))


@cache
def _deploy(
    model: str, gpu: str, parallel: Parallelism, replicas: int, engine: tuple[tuple[str, Any], ...]
) -> Deployment:
    found, accelerator = find_model(model), find_accelerator(gpu)
    settings = resolve_settings(found, accelerator, dp=parallel.dp, **dict(engine))
    link = find_link(accelerator.link)
    return Deployment(found, accelerator, link, parallel, settings, replicas)


def in_pools(prefill: Deployment, decode: Deployment, transfer: Link) -> Deployment:
    """Two deployments as pools, with what their blocks move over."""
    pool = DecodePool(
        decode.accelerator,
        decode.link,
        transfer,
        decode.parallelism,
        decode.settings,
        decode.replicas,
        decode.router,
    )
    return replace(prefill, decode=pool)


def at_once(requests: int, input_tokens: int, output_tokens: int) -> Callable[[], Workload]:
    """A whole batch at time 0."""
    spec = GeneratorSpec(requests, Fixed(input_tokens), Fixed(output_tokens), AtOnce())
    return lambda: generate(spec)


def closed_loop(
    users: int, requests: int, inputs: Lengths, outputs: Lengths
) -> Callable[[], Workload]:
    """`users` who each send a request when the one before is answered."""
    spec = GeneratorSpec(requests, inputs, outputs, ClosedLoop(users))
    return lambda: generate(spec)


def between(shortest: float, tokens: int, longest: float = 1.0) -> Uniform:
    """Lengths from `shortest` to `longest` times `tokens`."""
    return Uniform(max(1, int(shortest * tokens)), max(1, int(longest * tokens)))
