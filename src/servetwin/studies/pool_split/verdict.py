"""Who wins, by how much, and what stops each: in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from servetwin.results import Slo
from servetwin.studies.pool_split.limits import PARTS
from servetwin.studies.pool_split.search import STEP, Found
from servetwin.units import PS_PER_S

__all__ = ["best_of", "limited_by", "objectives", "verdict"]


def best_of(found: Sequence[Found], aggregated: bool) -> Found:
    """The one with most goodput of all splits, or of all that are aggregated."""
    kind = [item for item in found if item.layout.aggregated == aggregated]
    return max(kind, key=lambda item: item.goodput)


def objectives(slo: Slo) -> str:
    """`99 % of requests within TTFT 1 s and TPOT 50 ms`."""
    limits = [f"{name.upper()} {_time(ps)}" for name, ps in slo.limits.items()]
    return f"{slo.share * 100:g} % of requests within {' and '.join(limits)}"


def _time(ps: int) -> str:
    seconds = ps / PS_PER_S
    return f"{seconds:g} s" if seconds >= 1 else f"{seconds * 1e3:g} ms"


def limited_by(found: Found) -> str:
    """`TTFT: queueing`; empty where every rate that was tried meets the objectives."""
    if found.beyond is None:
        return ""
    limit = found.beyond.limit
    cause = f": {PARTS[limit.cause]}" if limit.cause else ""
    return f"{limit.name.upper()}{cause}"


def verdict(found: Sequence[Found]) -> list[str]:
    """Say which layout carries most, by how much, and why neither kind carries more."""
    split, whole = best_of(found, aggregated=False), best_of(found, aggregated=True)
    if not split.goodput and not whole.goodput:
        return ["At no rate does any deployment meet the objectives.", _why(whole), _why(split)]
    winner, loser = (split, whole) if split.goodput > whole.goodput else (whole, split)
    return [_compared(winner, loser), _why(winner), _why(loser)]


def _compared(winner: Found, loser: Found) -> str:
    kind = "aggregated deployment" if loser.layout.aggregated else "split"
    best = f"Best: {winner.layout.name}, {winner.goodput:.3g} requests/s within the objectives"
    if not loser.goodput:
        return f"{best}; no {kind} meets them at any rate."
    other = f"{loser.layout.name}, the best {kind} ({loser.goodput:.3g})"
    ratio = winner.goodput / loser.goodput
    if ratio <= 1 + STEP:
        return f"{best}; within {STEP:.1%}, the distance of two rates, as much as {other}."
    more = f"{ratio:.1f} times as much as" if ratio >= 2 else f"{ratio - 1:.0%} more than"
    return f"{best}: {more} {other}."


def _why(found: Found) -> str:
    """What gives way one rate above the best."""
    if found.beyond is None:
        return f"{found.layout.name}: all rates that were tried meet the objectives."
    limit, met = found.beyond.limit, found.beyond.met
    text = (
        f"{found.layout.name} at {found.beyond.rate:.3g}/s: {met['all']:.1%} of requests meet all, "
        f"{met[limit.name]:.1%} {limit.name.upper()}"
    )
    if not limit.cause:
        return f"{text}."
    share = limit.parts[limit.cause]
    return f"{text}; of the time of those that miss it, {share:.0%} is {PARTS[limit.cause]}."
