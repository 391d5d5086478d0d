"""Service-level objectives and the requests that meet them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from servetwin.errors import InputError, nearest
from servetwin.results.latencies import chunks, tpot_parts
from servetwin.types import RequestTable, Status
from servetwin.units import MAX_TIME_PS, NOT_YET, PS_PER_MS, PS_PER_NS, PS_PER_S, PS_PER_US

__all__ = ["Slo", "count_met", "parse_slo"]

UNITS = {"ns": PS_PER_NS, "us": PS_PER_US, "ms": PS_PER_MS, "s": PS_PER_S}
TARGETS = ("ttft", "tpot", "e2e")
EXAMPLE = "ttft=500ms,tpot=50ms"


@dataclass(frozen=True)
class Slo:
    """Upper limits on one request's latencies, in picoseconds; None asks nothing.

    A deployment meets its objectives when at least `share` of its requests meets every
    limit. Raises ValueError where no limit is set or a figure is out of range.
    """

    ttft: int | None = None
    tpot: int | None = None
    e2e: int | None = None
    share: float = 0.99

    def __post_init__(self) -> None:
        limits = self.limits
        if not limits:
            raise ValueError("an SLO needs at least one of ttft, tpot and e2e")
        if any(not 0 < limit <= MAX_TIME_PS for limit in limits.values()):
            raise ValueError("an SLO limit must lie above 0 and at most 90 days")
        if not 0.0 < self.share <= 1.0:
            raise ValueError("share must lie above 0 and at most 1")

    @property
    def limits(self) -> dict[str, int]:
        """The limits that are set, by name."""
        values = {name: getattr(self, name) for name in TARGETS}
        return {name: limit for name, limit in values.items() if limit is not None}


def parse_slo(text: str) -> Slo:
    """Read objectives such as `ttft=500ms,tpot=50ms,e2e=10s,p=0.99`.

    `p` is the share of requests that must meet them all. Raises InputError.
    """
    found: dict[str, str] = {}
    for item in text.split(","):
        name, equals, value = (part.strip() for part in item.partition("="))
        if not equals or not value:
            raise InputError(f"SLO '{item.strip()}' is not name=value; write {EXAMPLE}")
        if name not in (*TARGETS, "p"):
            hint = nearest(name, TARGETS) or f"known are {', '.join(TARGETS)} and p"
            raise InputError(f"SLO '{name}' is unknown; {hint}")
        if name in found:
            raise InputError(f"SLO '{name}' is given twice; keep one")
        found[name] = value
    share = _share(found.pop("p", "0.99"))
    if not found:
        raise InputError(f"an SLO needs at least one of {', '.join(TARGETS)}; write {EXAMPLE}")
    return Slo(**{name: _duration(name, value) for name, value in found.items()}, share=share)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0.0 < share <= 1.0:
        raise InputError(f"SLO p={text} is not a share above 0 and at most 1, such as p=0.99")
    return share


def _duration(name: str, text: str) -> int:
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,12})?) ?(ns|us|ms|s)", text)
    if match is None:
        raise InputError(f"SLO {name}={text} needs a number and ns, us, ms or s; write {EXAMPLE}")
    duration = round(Fraction(match[1]) * UNITS[match[2]])
    if not 0 < duration <= MAX_TIME_PS:
        raise InputError(f"SLO {name}={text} must lie above 0 and at most 90 days")
    return duration


def count_met(table: RequestTable, slo: Slo) -> dict[str, int]:
    """Count the requests that meet each limit, and under `all` those that meet every one.

    A request that did not complete meets none. One output token has no TPOT and meets any
    limit on it. Comparisons are of whole picoseconds, so equality counts as met.
    """
    counts = dict.fromkeys((*slo.limits, "all"), 0)
    for rows in chunks(len(table)):
        every = _finished(table, rows)
        ok = every.copy()
        for name, limit in slo.limits.items():
            met = ok & _within(table, rows, name, limit)
            counts[name] += int(np.count_nonzero(met))
            every &= met
        counts["all"] += int(np.count_nonzero(every))
    return counts


def _finished(table: RequestTable, rows: slice) -> NDArray[np.bool_]:
    ok = np.asarray(table.status[rows] == Status.OK)
    for column in (table.arrival, table.first_token, table.finish):
        ok &= column[rows] != NOT_YET
    return ok


def _within(table: RequestTable, rows: slice, name: str, limit: int) -> NDArray[np.bool_]:
    if name == "tpot":
        elapsed, tokens = tpot_parts(table, rows)
        return np.asarray((tokens == 0) | (-(-elapsed // np.maximum(tokens, 1)) <= limit))
    end = table.first_token if name == "ttft" else table.finish
    return np.asarray(end[rows] - table.arrival[rows] <= limit)
