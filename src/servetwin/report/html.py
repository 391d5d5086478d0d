"""`report.html`: one file that opens offline and loads nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from servetwin.report import figures
from servetwin.report.facts import facts
from servetwin.report.interval_wording import (
    evidence_lines,
    interval_cell,
    interval_lines,
)
from servetwin.report.outages import shaded
from servetwin.report.page import (
    NO_SCRIPT,
    columns,
    definitions,
    drawn,
    escaped,
    flat,
    framed,
    notes,
    pairs,
    section,
    specs_of,
    table,
)
from servetwin.report.part_figure import time_parts
from servetwin.report.wording import (
    LATENCY_ROWS,
    PERCENTILE_COLUMNS,
    heading,
    latency_cells,
    outcome,
)
from servetwin.results.output import replace_file
from servetwin.results.slo import Slo
from servetwin.results.summary import summary
from servetwin.types import RunResult

__all__ = ["page", "write_report"]

LATENCY_NAMES = ("ttft", "tpot", "queue", "e2e")


def write_report(run: RunResult, path: Path, slo: Slo | None = None) -> None:
    """Write the report of `run` to `path`. Raises InputError where writing fails."""
    text = page(run, slo)
    replace_file(Path(path), lambda partial: partial.write_text(text, encoding="utf-8"))


def page(run: RunResult, slo: Slo | None = None) -> str:
    """Return the HTML of a report, about 1.1 MB however many requests there are."""
    content = summary(run, slo)
    attributed = content["metrics"].get("attribution")
    sections = {title: specs_of(charts) for title, charts in _charts(run, attributed).items()}
    written = f"Run {content['experiment_id']}, written {content['created_at']}"
    settings, workload, provenance = (
        pairs(flat(content[name])) for name in ("config", "workload", "provenance")
    )
    body = (
        f'<p class="quiet">{escaped(written)}</p>',
        columns(
            pairs(facts(content) | evidence_lines(content["provenance"])),
            pairs(interval_lines(content["metrics"]) | outcome(content["metrics"])),
        ),
        notes(content["notes"]),
        section("Latency", _latencies(content["metrics"])),
        NO_SCRIPT,
        *(drawn(title, specs) for title, specs in sections.items()),
        columns(
            section("Settings", settings),
            section("Workload", workload) + section("Provenance", provenance),
        ),
        section("Definitions", definitions()),
    )
    specs = {name: spec for group in sections.values() for name, spec in group.items()}
    return framed(heading(content), body, specs)


def _charts(run: RunResult, found: dict[str, Any] | None) -> dict[str, dict[str, Any]]:
    """Charts by section; `found` says where the time went."""
    requests = run.requests
    over_time = {name: figures.latency_over_time(requests, name) for name in ("ttft", "tpot")}
    return {
        "Distribution of latencies": {
            f"cdf-{name}": figures.latency_cdf(requests, name) for name in LATENCY_NAMES
        },
        "Where the time goes": {"parts": time_parts(found)} if found else {},
        "Latency over time": {f"over-time-{name}": chart for name, chart in over_time.items()},
        "Load over time": shaded(
            {
                "batch": figures.batch_over_time(run),
                "kv": figures.kv_over_time(run),
                "tokens": figures.tokens_over_time(run),
                "power": figures.power_over_time(run),
            },
            run,
        ),
    }


def _latencies(metrics: dict[str, Any]) -> str:
    rows = []
    for key, label in LATENCY_ROWS.items():
        unit, cells = latency_cells(key, metrics[key])
        mean, *others = cells
        rows.append((label, mean, interval_cell(metrics, key, unit), *others, unit))
    mean, *others = PERCENTILE_COLUMNS
    intervals = metrics.get("intervals")
    head = f"{100 * intervals['nominal']:.0f} % of means" if intervals else ""
    return table(("", mean, head, *others, ""), rows, "figures units")
