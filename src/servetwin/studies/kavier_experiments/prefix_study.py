"""Experiment 3: caches of prompt prefixes, prefill only, by both closed forms."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from servetwin.cache.prompt_cache import PromptCache
from servetwin.errors import InputError
from servetwin.sim.closed_form import (
    ClosedForm,
    ClosedFormOptions,
    ClosedFormResult,
    Servetwin,
    run_closed_form,
)
from servetwin.studies.kavier.forms import kavier
from servetwin.studies.kavier_experiments import energy
from servetwin.studies.kavier_experiments.models import WHOLE_MS, hours_of, ours
from servetwin.studies.kavier_experiments.outcome import Check, Column, Outcome, Row, Table
from servetwin.studies.kavier_experiments.published import published
from servetwin.studies.kavier_experiments.traces import load_trace

if TYPE_CHECKING:
    from servetwin.report.figures import Chart
    from servetwin.types import Workload

__all__ = ["Grid", "run"]

TOLERANCE_H = 0.02
TOLERANCE_PERCENT = 0.01
NO_CACHE = 1_000_000
"""Prefix length by which the original says "no cache"."""

PERFORMANCE = (
    Column("prefix", "prefix"),
    Column("prompts", "prompts"),
    Column("hit_percent", "hits %", ".2f"),
    Column("published_hit_percent", "publ. %", ".2f"),
    Column("kavier_h", "kavier h", ".2f"),
    Column("published_h", "publ. h", ".2f"),
    Column("servetwin_h", "servetwin", ".2f"),
    Column("per_session_hit_percent", "own LRU %", ".2f"),
    Column("per_session_servetwin_h", "h", ".2f"),
)
ENERGY = (
    Column("prefix", "prefix"),
    Column("prompts", "prompts"),
    Column("kwh", "kWh", ",.2f"),
    Column("kwh_low", "least", ",.2f"),
    Column("kwh_high", "most", ",.2f"),
    Column("wh_per_million_tokens", "Wh/M", ",.2f"),
    Column("carbon_g_per_million_tokens", "gCO2e/M", ",.2f"),
    Column("usd_per_million_tokens", "$/M", ",.4f"),
)


@dataclass(frozen=True)
class Grid:
    """Prefix lengths in tokens and cache sizes in prompts that are tried."""

    prefixes: tuple[int, ...]
    prompts: tuple[int, ...]

    @staticmethod
    def parse(prefixes: str, prompts: str) -> Grid:
        """Read both lists; raises InputError. A prefix of 1000000 is the run without cache."""
        lengths = _whole_numbers("--prefix_cache_min_tokens", prefixes)
        kept = tuple(length for length in lengths if length != NO_CACHE)
        return Grid(kept, _whole_numbers("--max_cached_prompts", prompts))

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return ((prefix, size) for prefix in self.prefixes for size in self.prompts)


def _whole_numbers(flag: str, text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch("[0-9]{1,9}", part) and int(part) > 0 for part in parts):
        raise InputError(f"{flag} '{text[:40]}': whole numbers above 0, such as 8,16")
    return tuple(sorted({int(part) for part in parts}))


def run(
    trace: Path | None, quick: bool, grid: Grid, rates: tuple[str | None, str | None, float]
) -> Outcome:
    """Compute everything the experiment shows; `rates` are price, carbon and PUE."""
    given, table = load_trace(trace, quick), published("prefix")
    theirs = kavier(table["model"], table["gpu"])
    mine = ours(table["model"], table["gpu"], "kavier-a10")
    gpu = mine.deployment.accelerator
    money = energy.rates_of(gpu, *rates)
    performance: list[Row] = []
    power: dict[str, list[Row]] = {"kavier": [], "servetwin": []}
    notes = list(given.notes)
    for cache in (None, *(PromptCache(*cell, sharing="shared-lru") for cell in grid)):
        label = _label(cache)
        by_kavier = _prefill(given.workload, theirs, cache)
        by_ours = _prefill(given.workload, mine, cache)
        own = cache and replace(cache, sharing="per-session")
        apart = _prefill(given.workload, mine, own) if own else by_ours
        performance.append({**label, **_performance(by_kavier, by_ours, apart)})
        for result in (by_kavier, by_ours):
            row = energy.energy_row(result, gpu, money)
            power[result.model.name].append({**label, **row})
        notes += [note for note in by_ours.notes if "prefixes" in note or "would reject" in note]
    if given.comparable and given.workload.block_hashes is not None:
        performance = [{**row, **_published(row)} for row in performance]
    conditions = given.conditions(f"{table['model']} on one {table['gpu']}", "prefill only")
    return Outcome(
        study="kavier-3",
        title=f"Kavier, experiment 3: caches of prompts, {table['model']} on one {table['gpu']}, "
        "prefill only",
        about={**given.about(), "power_of": gpu.name, "pue": rates[2], "quick": quick},
        tables={
            "performance": Table(
                "One LRU over all sessions, and (last two) one for each", performance, PERFORMANCE
            ),
            **{
                f"energy-{form}": Table(f"Prefill energy and efficiency by {form}", rows, ENERGY)
                for form, rows in power.items()
            },
        },
        checks=_checks(performance),
        charts={"caches": lambda: _chart(performance, power, conditions)},
        notes=list(dict.fromkeys([*notes, *_notes(mine, bool(_checks(performance)))])),
    )


def _chart(performance: list[Row], power: dict[str, list[Row]], conditions: str) -> Chart:
    from servetwin.report.kavier_cache_figures import prompt_caches

    return prompt_caches(performance, power, conditions)


def _label(cache: PromptCache | None) -> Row:
    """Prefix and cache size; texts, since a run without cache has neither."""
    if cache is None:
        return {"prefix": "none", "prompts": "-"}
    return {"prefix": str(cache.min_tokens), "prompts": str(cache.max_prompts)}


def _prefill(workload: Workload, form: ClosedForm, cache: PromptCache | None) -> ClosedFormResult:
    """Run, and leave decode out: the experiment is about prefill alone."""
    result = run_closed_form(workload, form, ClosedFormOptions(prompt_cache=cache))
    nothing = np.zeros_like(result.requests.decode)
    alone = replace(result.requests, decode=nothing, output_tokens=nothing)
    return replace(result, requests=alone)


def _performance(theirs: ClosedFormResult, mine: ClosedFormResult, apart: ClosedFormResult) -> Row:
    return {
        "hit_percent": 100 * theirs.hit_ratio,
        "published_hit_percent": None,
        "kavier_h": hours_of(theirs.requests.prefill, "kavier"),
        "published_h": None,
        "servetwin_h": hours_of(mine.requests.prefill, "servetwin"),
        "per_session_hit_percent": 100 * apart.hit_ratio,
        "per_session_servetwin_h": hours_of(apart.requests.prefill, "servetwin"),
    }


def _published(row: Row) -> Row:
    """Published hits and hours of the same caches, where there are any."""
    if row["prefix"] == "none":
        return {"published_h": published("prefix")["baseline_prefill_h"]}
    for name in ("table", "sweep"):
        table = published("prefix")[name]
        sizes = table["min_tokens"]
        if isinstance(sizes, int):
            sizes = [sizes] * len(table["max_prompts"])
        cells = zip(sizes, table["max_prompts"], strict=True)
        values = zip(table["hit_percent"], table["prefill_h"], strict=True)
        for (prefix, size), (hits, hours) in zip(cells, values, strict=True):
            if (row["prefix"], row["prompts"]) == (str(prefix), str(size)):
                return {"published_hit_percent": hits, "published_h": hours}
    return {}


def _checks(rows: list[Row]) -> list[Check]:
    checks = []
    for row in rows:
        what = f"{row['prefix']} tokens, {row['prompts']} prompts"
        if row["prefix"] == "none":
            what = "no cache"
        if (hits := row["published_hit_percent"]) is not None:
            found = row["hit_percent"]
            checks.append(Check(f"{what}, hits", "%", found, hits, TOLERANCE_PERCENT))
        if (hours := row["published_h"]) is not None:
            checks.append(Check(f"{what}, prefill", "h", row["kavier_h"], hours, TOLERANCE_H))
    return checks


def _notes(mine: Servetwin, equivalent: bool) -> list[str]:
    invented = (
        "each session of the equivalent trace has one prefix, which nobody published: with an "
        "LRU of its own, one prompt is enough"
    )
    return [
        *([invented] if equivalent else []),
        WHOLE_MS,
        "kavier takes the whole prefill of a hit as free; servetwin only the shared prefix",
        "one LRU over all sessions, the session in its key, is what the original calls a cache "
        "per session",
        f"servetwin's costs: {mine.source}",
        f"watts are those of the catalog's {mine.deployment.accelerator.name}; M is a million "
        "input tokens",
    ]
