"""Settings of `servetwin study pools` -> its layouts, and the budgets of tokens to try."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from servetwin.cli.build import build_deployment, check_inputs, typical_context
from servetwin.cli.costs import build_cost
from servetwin.cli.pool_settings import PoolSettings
from servetwin.cli.pools import of_decode_pool
from servetwin.cli.settings import RunSettings
from servetwin.cost import rank_limits
from servetwin.errors import InputError
from servetwin.studies.pool_split.layouts import Engines, Layout, layouts_of
from servetwin.studies.pool_split.tuning import Side
from servetwin.types import Deployment, Workload

__all__ = ["Sides", "Tokens", "numbers", "sides_of"]

GRID = tuple(2**power for power in range(7, 15))
"""Tokens of an iteration: around what engines come with (2048 and 8192), each way."""
CHUNKED = ("vllm", "sarathi")
"""Schedulers whose budget decides how a prompt is cut."""
BUDGET, SEQUENCES = "max_num_batched_tokens", "max_num_seqs"


@dataclass(frozen=True)
class Tokens:
    """What --aggregated-tokens and --prefill-tokens say."""

    aggregated: str | None = None
    prefill: str | None = None


@dataclass(frozen=True)
class Sides:
    """Both sides of the study."""

    sides: list[Side]
    pools: Deployment
    """One engine of each pool, as the settings describe them."""
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Kind:
    """Engines of one kind."""

    settings: RunSettings
    own: Engines
    notes: tuple[str, ...] = ()


def sides_of(settings: RunSettings, engines: int, tokens: Tokens, workload: Workload) -> Sides:
    """Every layout, by side. Raises InputError for engines that cannot run as they are."""
    alone = {name: field.default for name, field in PoolSettings.model_fields.items()}
    both = settings.model_copy(update={"decode_replicas": 1})
    pools = _kind(both, workload)
    whole = _kind(settings.model_copy(update=alone), workload)
    decode = of_decode_pool(both).model_copy(update=alone)

    def side(kind: _Kind, layouts: list[Layout], flag: str, text: str | None) -> Side:
        given = tuple(numbers(flag, text, int)) if text is not None else ()
        grid = given or _grid(kind)
        return Side(
            layouts=tuple(layouts),
            flag=flag,
            engines=_with_budget(kind, workload, strict=bool(given)),
            grid=grid,
            refined=bool(grid) and not given,
            own=not given,
        )

    layouts = layouts_of(whole.own, pools.own, engines)
    splits = [layout for layout in layouts if not layout.aggregated]
    sides = [side(whole, layouts[:1], "--aggregated-tokens", tokens.aggregated)]
    for layout in layouts[1 : -len(splits)]:
        kind = _kind(decode, workload)
        sides.append(side(kind, [layout], "--aggregated-tokens", tokens.aggregated))
    fixed = _fixed_decode(pools)
    sides.append(side(fixed, splits, "--prefill-tokens", tokens.prefill))
    notes = dict.fromkeys((*pools.notes, *_limits(whole, sides[0])))
    return Sides(sides, pools.own.deployment, tuple(notes))


def numbers(flag: str, text: str, kind: Any) -> list[Any]:
    """Numbers above 0 between commas, ascending. Raises InputError."""
    try:
        values = sorted({kind(part) for part in text.split(",")})
    except ValueError:
        values = []
    if not values or not all(math.isfinite(value) and value > 0 for value in values):
        what = "whole numbers" if kind is int else "numbers"
        raise InputError(f"{flag} {text[:40]!r}: must be {what} above 0 between commas")
    return values


def _kind(settings: RunSettings, workload: Workload) -> _Kind:
    deployment, notes = build_deployment(settings)
    check_inputs(workload, deployment)
    context = typical_context(workload, deployment.settings.max_model_len)
    cost = build_cost(settings.cost, deployment, workload, context)
    return _Kind(settings, Engines(deployment, cost), notes)


def _fixed_decode(pools: _Kind) -> _Kind:
    """The same, with limits of the decode pool that do not follow those of the other."""
    limits = rank_limits(pools.own.deployment.pools[1])
    update = {
        f"decode_{BUDGET}": limits.max_num_batched_tokens,
        f"decode_{SEQUENCES}": limits.max_num_seqs,
    }
    return replace(pools, settings=pools.settings.model_copy(update=update))


def _grid(kind: _Kind) -> tuple[int, ...]:
    """Budgets to try; none where the budget was chosen, or does not matter."""
    settings = kind.settings
    if settings.scheduler not in CHUNKED or not _open(settings, BUDGET):
        return ()
    floor = 1 if _open(settings, SEQUENCES) else settings.max_num_seqs or 1
    return tuple(tokens for tokens in GRID if tokens >= floor)


def _open(settings: RunSettings, name: str) -> bool:
    """Whether nobody chose a setting."""
    return getattr(settings, name) is None or name in settings.defaulted


def _with_budget(
    kind: _Kind, workload: Workload, *, strict: bool
) -> Callable[[int], Engines | None]:
    """Return what builds such engines with a budget; if not `strict`, None where none can run."""
    freed = {SEQUENCES: None} if _open(kind.settings, SEQUENCES) else {}

    def engines(tokens: int) -> Engines | None:
        settings = kind.settings.model_copy(update={**freed, BUDGET: tokens})
        try:
            return _kind(settings, workload).own
        except InputError:
            if strict:
                raise
            return None

    return engines


def _limits(whole: _Kind, side: Side) -> tuple[str, ...]:
    """Say what vLLM's rule on both limits does to the budgets that are tried."""
    limit = rank_limits(whole.own.deployment).max_num_seqs
    rule = "vLLM wants max-num-batched-tokens >= max-num-seqs"
    if not side.grid or whole.settings.scheduler != "vllm":
        return ()
    if _open(whole.settings, SEQUENCES):
        low = side.grid[0] < limit
        return (f"{rule}: with less than {limit:,} tokens, so many requests at once",) * low
    skipped = side.refined and limit > GRID[0]
    return (f"{rule}: no budgets below {limit:,} were tried",) * skipped
