"""Who wins, by how much, and what stops each: in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from servetwin.errors import counted
from servetwin.results import Slo
from servetwin.studies.pool_split.limits import PARTS, REJECTED
from servetwin.studies.pool_split.search import STEP, Found
from servetwin.studies.pool_split.tuning import Contest
from servetwin.units import PS_PER_S

__all__ = ["best_of", "limited_by", "objectives", "verdict"]


def best_of(found: Sequence[Found], aggregated: bool) -> Found | None:
    """The best of all splits, or of all that are aggregated; None of none."""
    kind = [item for item in found if item.layout.aggregated == aggregated]
    return max(kind, key=lambda item: item.standing, default=None)


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


def verdict(contest: Contest) -> list[str]:
    """Say which layout carries most, by how much, and why neither kind carries more."""
    split, whole = best_of(contest.found, aggregated=False), best_of(contest.found, aggregated=True)
    told = []
    if contest.interrupted:
        count = counted(len(contest.found), "deployment")
        told = [f"Interrupted after {count}: better ones may be missing."]
    if split is None or whole is None:
        return [*told, *(_why(item) for item in (whole, split) if item), *contest.edges]
    if not split.goodput and not whole.goodput:
        best = "At no rate does any deployment meet the objectives."
        return [*told, best, _why(whole), _why(split)]
    if split.beyond is None and whole.beyond is None:
        return [
            *told,
            f"No best is known: {split.layout.name} and {whole.layout.name} meet the objectives "
            "at all rates that were tried. Name higher ones with --rates.",
            *contest.edges,
        ]
    winner, loser = (split, whole) if split.goodput > whole.goodput else (whole, split)
    return [*told, _compared(winner, loser), _why(winner), _why(loser), *contest.edges]


def _compared(winner: Found, loser: Found) -> str:
    kind = "aggregated deployment" if loser.layout.aggregated else "split"
    best = f"Best: {winner.layout.name}, {winner.goodput:.3g} requests/s within the objectives"
    if not loser.goodput:
        return f"{best}; no {kind} meets them at any rate."
    other = f"{loser.layout.name}, the best {kind} ({loser.goodput:.3g})"
    ratio = winner.goodput / loser.goodput
    if ratio <= 1 + STEP and _rates_are_given(winner):
        return f"{best}; as much as {other} at the rates that were tried."
    if ratio <= 1 + STEP:
        return f"{best}; within {STEP:.1%}, the distance of two rates, as much as {other}."
    more = f"{ratio:.1f} times as much as" if ratio >= 2 else f"{ratio - 1:.0%} more than"
    return f"{best}: {more} {other}."


def _rates_are_given(found: Found) -> bool:
    """Whether the next rate is farther away than a search would have put it."""
    if found.best is None or found.beyond is None:
        return False
    return found.beyond.rate / found.best.rate > 1 + 2 * STEP


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
    if limit.cause == REJECTED:
        return f"{text}; {limit.share:.0%} of those that miss it are rejected."
    return f"{text}; of the time of those that miss it, {limit.share:.0%} is {PARTS[limit.cause]}."
