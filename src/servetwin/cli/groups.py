"""`--also`: replicas on other devices behind the same router."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from servetwin.catalog import find_accelerator
from servetwin.cli.pools import whole_experts
from servetwin.cli.settings import RunSettings
from servetwin.cost import rank_limits
from servetwin.errors import InputError, nearest
from servetwin.sim.groups import write_groups
from servetwin.types import Deployment, ReplicaGroup

__all__ = ["has_groups", "resolved_groups", "with_groups"]

Built = tuple[Deployment, tuple[str, ...]]

EXAMPLE = "A100-80GB:3:2,speed=0.9, which is GPU:REPLICAS:TP"
HEAD = re.compile(r"\s*([^:,=]+?)\s*(?::\s*([0-9]{1,6})\s*)?(?::\s*([0-9]{1,4})\s*)?")
NUMBER = re.compile(r"[0-9.eE+-]+")
KEYS = ("speed", "link", "ep")
SLOWEST, FASTEST = 0.01, 100.0


@dataclass(frozen=True)
class _Asked:
    """What one `--also` says; None where it says nothing."""

    text: str
    gpu: str
    replicas: int
    tp: int
    speed: float = 1.0
    link: str | None = None
    ep: int | None = None


def has_groups(settings: RunSettings) -> bool:
    """Whether replicas are of several kinds. Raises InputError for what they cannot have."""
    if not settings.also:
        return False
    for what, given in {
        "prefill and decode pools": settings.decode_replicas is not None,
        "pipeline stages": settings.pp > 1,
    }.items():
        if given:
            raise InputError(f"--also is not simulated yet with {what}: leave one away")
    return True


def with_groups(
    first: Built, settings: RunSettings, build: Callable[[RunSettings], Built]
) -> Built:
    """Add each group, built like any engine, to a deployment. Raises InputError."""
    deployment, notes = first
    groups, told = [], list(notes)
    for number, text in enumerate(settings.also or (), 2):
        asked = _parse(text, settings.tp)
        try:
            group, own = build(_alone(asked, settings, deployment))
        except InputError as error:
            raise InputError(f"--also {text[:60]}: {error}") from None
        told += [f"group {number}: {note}" for note in own if note not in notes]
        groups.append(
            ReplicaGroup(
                accelerator=group.accelerator,
                link=group.link,
                parallelism=group.parallelism,
                settings=group.settings,
                replicas=asked.replicas,
                speed=asked.speed,
            )
        )
    return replace(deployment, also=tuple(groups)), tuple(told)


def _parse(text: str, tp: int) -> _Asked:
    """Read `GPU[:REPLICAS[:TP]][,speed=X][,link=NAME][,ep=N]`. Raises InputError."""
    head, *parts = text.split(",")
    match = HEAD.fullmatch(head)
    if match is None:
        raise InputError(f"--also {text[:60]!r} is not understood: write {EXAMPLE}")
    given: dict[str, Any] = {}
    for part in parts:
        key, _, value = (word.strip() for word in part.partition("="))
        if key not in KEYS or not value:
            hint = nearest(key, KEYS) or f"known: {', '.join(f'{name}=' for name in KEYS)}"
            raise InputError(f"--also {text[:60]!r}: '{part.strip()[:20]}' is not known: {hint}")
        if key in given:
            raise InputError(f"--also {text[:60]!r}: {key}= is given twice")
        given[key] = _value(key, value, text)
    replicas, own_tp = (int(found) if found else None for found in match.group(2, 3))
    if replicas == 0 or own_tp == 0:
        raise InputError(f"--also {text[:60]!r}: replicas and tp must be at least 1")
    return _Asked(text, match[1], replicas or 1, own_tp or tp, **given)


def _value(key: str, value: str, text: str) -> Any:
    if key == "link":
        return value
    try:
        number = float(value) if key == "speed" else int(value)
        number = number if NUMBER.fullmatch(value) else 0
    except ValueError:
        number = 0
    if key == "speed" and not SLOWEST <= number <= FASTEST:
        raise InputError(
            f"--also {text[:60]!r}: speed must lie between {SLOWEST:g} and {FASTEST:g}, such as "
            "0.8 for machines that take a quarter longer"
        )
    if key == "ep" and not number >= 1:
        raise InputError(f"--also {text[:60]!r}: ep must be a whole number of 1 or more")
    return number


def _alone(asked: _Asked, settings: RunSettings, deployment: Deployment) -> RunSettings:
    """The settings of a group as if it were alone; what a GPU decides is as in the first."""
    limits = rank_limits(deployment)
    same = find_accelerator(asked.gpu).name == deployment.accelerator.name
    pool: dict[str, Any] = {
        "also": None,
        "gpu": asked.gpu,
        "replicas": asked.replicas,
        "tp": asked.tp,
        "ep": asked.ep or whole_experts(settings, asked.tp * settings.dp),
        "link": asked.link or (settings.link if same else None),
        "max_num_seqs": limits.max_num_seqs,
        "max_num_batched_tokens": limits.max_num_batched_tokens,
    }
    if "max_model_len" in settings.defaulted:
        pool["max_model_len"] = None
    return settings.model_copy(update=pool)


def resolved_groups(deployment: Deployment) -> dict[str, Any]:
    """List the groups as they were decided; nothing where all replicas are alike."""
    written = write_groups(deployment)
    return {"also": written} if written else {}
