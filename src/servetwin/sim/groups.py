"""Replicas of several kinds behind one router, in the integers of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from servetwin.errors import InputError
from servetwin.types import Deployment, IterationCost

if TYPE_CHECKING:
    from servetwin.sim.inputs import SimInputs
    from servetwin.sim.outcome import Outcome

__all__ = [
    "EngineGroup",
    "check_groups",
    "describe_groups",
    "groups_of",
    "joined",
    "write_groups",
]


@dataclass(frozen=True)
class EngineGroup:
    """Replicas of one kind: what of `SimInputs`, and of its `failures`, they have of their own."""

    cost: IterationCost
    capacity_blocks: int
    max_total_tokens: int
    replicas: int
    restart: int | None = None
    """As `Failures` has it; None: as the first kind. So the next."""
    restore_block: int | None = None


OWN = ("cost", "capacity_blocks", "max_total_tokens", "replicas")
"""Fields of `SimInputs` in which kinds differ."""
UNKNOWN = "replicas of several kinds are not simulated yet with"


def groups_of(inputs: SimInputs) -> tuple[SimInputs, ...]:
    """Inputs of each kind as if its replicas were all there are, in the order of their numbers."""
    if not inputs.also:
        return (inputs,)
    others = sum(group.replicas for group in inputs.also)
    first = replace(inputs, replicas=inputs.replicas - others, also=())
    return (first, *(_alone(first, group) for group in inputs.also))


def _alone(first: SimInputs, group: EngineGroup) -> SimInputs:
    failures = first.failures
    if failures is not None:
        restart = failures.restart if group.restart is None else group.restart
        block = failures.restore_block if group.restore_block is None else group.restore_block
        failures = replace(failures, restart=restart, restore_block=block)
    return replace(first, failures=failures, **{name: getattr(group, name) for name in OWN})


def joined(groups: Sequence[SimInputs]) -> SimInputs:
    """Undo `groups_of`. Raises InputError for groups that cannot stand beside each other."""
    first, *others = groups
    if not others:
        return first
    if any(one.stages is not None for one in groups):
        raise InputError(f"{UNKNOWN} microbatches in pipeline stages")
    also = tuple(EngineGroup(**{name: getattr(one, name) for name in OWN}) for one in others)
    if any(one.tiers != first.tiers for one in others):
        raise InputError(
            "KV tiers below replicas of several kinds need KV blocks of equal bytes: choose tp of "
            "each so that it divides the KV heads"
        )
    return replace(first, replicas=sum(one.replicas for one in groups), also=also)


def check_groups(inputs: SimInputs) -> None:
    """Raise InputError for what is not simulated with replicas of several kinds."""
    others = {
        "prefill and decode pools": inputs.decode is not None,
        "microbatches in pipeline stages": inputs.stages is not None,
    }
    for name, present in others.items():
        if inputs.also and present:
            raise InputError(f"{UNKNOWN} {name}")


def describe_groups(
    deployment: Deployment, inputs: SimInputs, outcome: Outcome
) -> list[dict[str, Any]] | None:
    """Each group as `RunResult.groups` has it; None where all replicas are alike."""
    if not inputs.also:
        return None
    first, stated = 0, []
    peaks = (outcome.peak_blocks, *outcome.also_peak_blocks)
    for group, own, peak in zip(deployment.groups, inputs.groups, peaks, strict=True):
        stated.append(
            {
                "gpu": group.accelerator.name,
                "tp": group.parallelism.tp,
                "first": first,
                "replicas": group.replicas,
                "devices": group.devices,
                "speed": float(group.speed),
                "usd_per_gpu_hour": group.accelerator.price_per_hour,
                "capacity_blocks": own.capacity_blocks,
                "peak_blocks": peak,
            }
        )
        first += group.replicas
    return stated


def write_groups(deployment: Deployment) -> list[str] | None:
    """Write the groups as `--also` takes them; None where all replicas are alike.

    Links and, of a mixture of experts, `ep` are always among it: `--also` takes those of the
    first kind where it finds none.
    """
    return [_written(group) for group in deployment.groups[1:]] or None


def _written(group: Deployment) -> str:
    layout = group.parallelism
    text = f"{group.accelerator.name}:{group.replicas}:{layout.tp}"
    if group.speed != 1.0:
        text += f",speed={group.speed!r}"
    text += f",link={group.link.name}"
    return text if group.model.mixture is None else f"{text},ep={layout.ep}"
