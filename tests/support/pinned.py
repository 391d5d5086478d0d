"""Runs whose outcomes are kept as digests, so that no change goes unnoticed.

Where a change is meant, `PYTHONPATH=tests python -m support.pinned` writes the file anew; the
commit then says why. Nothing here is drawn: generators of random numbers may change, too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from servetwin.cache.tiers import TierLimits
from servetwin.sim import kernel
from servetwin.sim.failures import Failures
from servetwin.sim.groups import EngineGroup
from servetwin.sim.inputs import DecodeInputs, SimInputs
from servetwin.sim.outcome import Outcome
from servetwin.sim.pools import TransferLink
from servetwin.sim.prefixes import find_prefixes
from servetwin.sim.stages import Stages
from servetwin.types import BlockHashes, EngineSettings, IterationCost, Workload
from servetwin.units import NOT_YET

__all__ = ["CASES", "FILE", "digests"]

FILE = Path(__file__).parents[1] / "exact" / "pinned_outcomes.json"
REQUESTS = 80
BLOCK = 8
INTERNAL = ("events",)
"""Of an outcome: what the two simulators need not agree on."""

COST = IterationCost(
    base=211,
    linear=np.array([0, 17, 29, 37, 41], np.int64),
    linear_slope=3,
    head=np.array([0, 7, 9], np.int64),
    head_slope=1,
    decode_seq=2,
    decode_ctx=1,
    prefill_chunk=5,
    prefill_attn=900,
    lora_base=13,
    lora_adapter=4,
    lora_token=1,
)


ENGINE = EngineSettings(
    max_num_seqs=6, max_num_batched_tokens=40, block_size=BLOCK, enable_prefix_caching=False
)
CACHING: dict[str, Any] = {"enable_prefix_caching": True}


def workload() -> Workload:
    """Prompts that share their beginnings, some a turn behind another, in a heavy load."""
    number = np.arange(REQUESTS)
    inputs = 5 + number * number * 7 % 90
    counts = inputs // BLOCK
    # Requests of one family share blocks until a depth of their own.
    ids = [
        1000 * (n % 3) + (at if at < n % 6 else 100 * n + at)
        for n in number
        for at in range(counts[n])
    ]
    follows = number % 5 == 4
    return Workload(
        arrival=np.where(follows, NOT_YET, number * 160 + number * number % 97),
        input_tokens=inputs.astype(np.int32),
        output_tokens=(1 + number * 13 % 37).astype(np.int32),
        parent=np.where(follows, number - 2, -1).astype(np.int32),
        think_time=np.where(follows, 500 + number, 0).astype(np.int64),
        priority=(number % 3).astype(np.int32),
        adapter=(number % 4 - 1).astype(np.int32),
        session_id=(number % 3).astype(np.int32),
        block_hashes=BlockHashes(
            np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            np.array(ids, np.int64),
            BLOCK,
            "global",
        ),
    )


def inputs(**changes: Any) -> SimInputs:
    """One pool; settings of the engine and fields of SimInputs alike."""
    own = {
        name: changes.pop(name) for name in EngineSettings.__dataclass_fields__ if name in changes
    }
    values: dict[str, Any] = {"max_num_seqs": 6, "max_num_batched_tokens": 40, "block_size": BLOCK}
    settings = EngineSettings(**{**values, "enable_prefix_caching": False, **own})
    load = workload()
    given: dict[str, Any] = {
        "cost": COST,
        "capacity_blocks": 40,
        "max_total_tokens": 10_000,
        "replicas": 2,
        "router": "least-outstanding",
        "seed": 7,
        "snapshot_interval": 4000,
        "token_gaps": True,
        "prefixes": find_prefixes(load, settings),
    }
    return SimInputs(load, settings, **{**given, **changes})


def staged(swap: int = 0, **changes: Any) -> SimInputs:
    stages = Stages(2, (0, 20_000, 41_000, 65_536), swap)
    return inputs(replicas=4, async_scheduling=False, stages=stages, **changes)


def pooled(prefill: SimInputs, **decode: Any) -> SimInputs:
    link = TransferLink(block_ps=31, latency_ps=12, layers=4)
    return replace(prefill, decode=DecodeInputs(inputs(seed=6, **decode), link))


def failing(calm: SimInputs, **changes: Any) -> SimInputs:
    times, engines = (900, 2500, 2600, 7000, 15_000), (0, 1, 0, 0, 1)
    return replace(calm, failures=Failures(times, engines, detect=300, restart=1100, **changes))


TIERS = (TierLimits("host", 30, 5, 9), TierLimits("disk", 200, 40, 60))
LARGER = EngineGroup(replace(COST, base=90, decode_ctx=0), 60, 10_000, 1)

CASES: dict[str, Callable[[], SimInputs]] = {
    "plain": inputs,
    "plain, nothing planned ahead": lambda: inputs(async_scheduling=False, router="power-of-two"),
    "sarathi": lambda: inputs(scheduler="sarathi", router="least-tokens"),
    "orca": lambda: inputs(scheduler="orca", router="random"),
    "static": lambda: inputs(scheduler="static"),
    "slots": lambda: inputs(scheduler="slots", capacity_blocks=96, max_total_tokens=128),
    "prefix caching": lambda: inputs(**CACHING, router="cache-aware"),
    "tiers": lambda: inputs(**CACHING, tiers=TIERS, capacity_blocks=25),
    "priorities": lambda: inputs(scheduling_policy="priority"),
    "adapters": lambda: inputs(max_loras=2),
    "kinds of replicas": lambda: inputs(replicas=3, also=(LARGER,)),
    "stages": staged,
    "stages, caching": lambda: staged(**CACHING),
    "stages, swapping": lambda: staged(swap=6),
    "pools": lambda: pooled(inputs(), replicas=1, capacity_blocks=30),
    "pools, caching": lambda: pooled(inputs(**CACHING), **CACHING),
    "pools of stages": lambda: pooled(
        staged(), replicas=3, async_scheduling=False, stages=Stages(1, (0, 30_000, 65_536))
    ),
    "failures": lambda: failing(inputs(**CACHING)),
    "failures, copies": lambda: failing(inputs(), replicated=True, restore_block=3, lag=1),
    "failures, stages": lambda: failing(staged(), replicated=True, restore_block=3),
}


def digests(outcome: Outcome) -> dict[str, str]:
    """A digest of each field that a run has: those it lacks may come to be more."""
    values = {field.name: getattr(outcome, field.name) for field in fields(outcome)}
    return {
        name: hashlib.sha256(repr(_plain(value)).encode()).hexdigest()[:12]
        for name, value in values.items()
        if name not in INTERNAL and value is not None
    }


def _plain(value: Any) -> Any:
    """Whole numbers, in lists."""
    if isinstance(value, np.ndarray):
        return value.shape, value.astype(np.int64).ravel().tolist()
    if is_dataclass(value):
        return [(field.name, _plain(getattr(value, field.name))) for field in fields(value)]
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _write() -> None:
    found = {name: digests(kernel.run(make())) for name, make in CASES.items()}
    lines = (f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in found.items())
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    _write()
