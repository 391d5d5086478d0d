"""`load_curve.html`: a load curve with its table, figures and settings, in one offline file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from servetwin.report.load_figures import load_panels
from servetwin.report.load_wording import about, load_cells, load_heads, title, verdict
from servetwin.report.page import (
    NO_SCRIPT,
    columns,
    definitions,
    drawn,
    flat,
    framed,
    notes,
    pairs,
    section,
    specs_of,
    table,
)
from servetwin.results.load import LoadPoint

__all__ = ["load_page"]


def load_page(points: Sequence[LoadPoint], content: dict[str, Any]) -> str:
    """Return the HTML of a load curve; `content` is that of `load_curve.json`."""
    specs = specs_of(load_panels(points))
    settings, workload, provenance = (
        pairs(flat(content[name])) for name in ("config", "workload", "provenance")
    )
    body = (
        columns(pairs(about(content)), pairs(verdict(content))),
        notes(content["notes"]),
        section("Rates", table(map(" ".join, load_heads(content)), load_cells(content))),
        NO_SCRIPT,
        drawn("By offered rate (dashed: the knee)", specs),
        columns(
            section("Settings", settings),
            section("Workload", workload) + section("Provenance", provenance),
        ),
        section("Definitions", definitions()),
    )
    return framed(title(content), body, specs)
