"""The records of settings that a run of the kernel goes by."""

from __future__ import annotations

import numpy as np

from servetwin.sim.inputs import SimInputs
from servetwin.sim.kernel.records import PLAIN_SETTINGS, RARE, SETTINGS
from servetwin.sim.kernel.state import SARATHI, SCHEDULER_CODES, VLLM, Records
from servetwin.types import ROUTERS

__all__ = ["make_settings"]


def make_settings(
    inputs: SimInputs, seats: int, ring_size: int, leaves: int, fetches: bool
) -> Records:
    """One record for each kind of replica."""
    engine = inputs.settings
    size = engine.block_size
    scheduler = SCHEDULER_CODES[engine.scheduler]
    shared = {
        "scheduler": scheduler,
        "lag": inputs.lag,
        "grows": int(scheduler in (VLLM, SARATHI)),
        "caching": int(inputs.prefixes is not None),
        "tiers": len(inputs.tiers),
        "hands_over": int(inputs.decode is not None),
        "fetches": int(fetches),
        "budget": engine.max_num_batched_tokens,
        "max_seqs": seats,
        "block_size": size,
        "shift": size.bit_length() - 1 if size & (size - 1) == 0 else -1,
        "ring_mask": ring_size - 1,
        "replicas": inputs.replicas,
        "leaves": leaves,
        "router": ROUTERS.index(inputs.router),
        "interval": inputs.snapshot_interval,
        "gaps": int(inputs.token_gaps),
        "closed_loop": int(inputs.workload.closed_loop),
        "stages": inputs.stages.count if inputs.stages else 0,
        "engines": inputs.engines,
        "fails": int(inputs.failures is not None),
        "by_priority": int(engine.by_priority),
        "loras": engine.max_loras if inputs.workload.adapter is not None else 0,
        "swap": inputs.stages.swap if inputs.stages else 0,
        "kinds": len(inputs.groups) if inputs.also else 0,
    }
    records = np.zeros(len(inputs.groups), SETTINGS)
    for kind, group in enumerate(inputs.groups):
        for name, value in (shared | _settings_of_kind(group, kind)).items():
            records[kind][name] = value
    return _narrowed(records) if inputs.plain and not fetches else records


def _settings_of_kind(group: SimInputs, kind: int) -> dict[str, int]:
    cost, failures = group.cost, group.failures
    return {
        "kind": kind,
        "max_total": group.max_total_tokens,
        "capacity": group.capacity_blocks,
        "tabled": int(cost.attention is not None),
        "speculating": int(cost.speculation is not None),
        "restart": failures.restart if failures else 0,
        "restore_block": failures.restore_block if failures else 0,
        **{name: getattr(cost, name) for name in SETTINGS.names or () if hasattr(cost, name)},
    }


def _narrowed(settings: Records) -> Records:
    """Settings of a run without the rarer features, by which the kernel leaves them out."""
    assert not any(int(settings[0][name]) for name in RARE)
    record = np.zeros(1, PLAIN_SETTINGS)
    for name in PLAIN_SETTINGS.names or ():
        record[name] = settings[name]
    return record
