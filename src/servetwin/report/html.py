"""`report.html`: one file that opens offline and loads nothing."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from servetwin.report import figures
from servetwin.report.definitions import DEFINITIONS
from servetwin.report.wording import (
    LATENCY_ROWS,
    PERCENTILE_COLUMNS,
    facts,
    heading,
    latency_cells,
    outcome,
    printable,
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
    """Return the HTML of a report, about 1.1 MB however many requests there are.

    Strings of the run are escaped; a content security policy forbids the page to load
    anything and to run any script but its own two.
    """
    content = summary(run, slo)
    sections = {title: _drawable(charts) for title, charts in _charts(run).items()}
    specs = {name: spec for charts in sections.values() for name, spec in charts.items()}
    library, script = _library(), _asset("report.js")
    values = {
        "title": html.escape(heading(content)),
        "experiment_id": _text(content["experiment_id"]),
        "created_at": _text(content["created_at"]),
        "facts": _pairs(facts(content)),
        "outcome": _pairs(outcome(content["metrics"])),
        "notes": "\n".join(f'<p class="note">{_text(note)}</p>' for note in content["notes"]),
        "latencies": _latencies(content["metrics"]),
        "charts": "\n".join(_section(title, charts) for title, charts in sections.items()),
        "settings": _pairs(_flat(content["config"])),
        "workload": _pairs(_flat(content["workload"])),
        "provenance": _pairs(_flat(content["provenance"])),
        "definitions": _definitions(),
        "specs": inline_json(specs),
        "style": _asset("report.css"),
        "library": library,
        "script": script,
        "script_hashes": f"{_hash(library)} {_hash(script)}",
    }
    return Template(_asset("page.html")).substitute(values)


def _charts(run: RunResult) -> dict[str, dict[str, Any]]:
    table = run.requests
    over_time = {name: figures.latency_over_time(table, name) for name in ("ttft", "tpot")}
    return {
        "Distribution of latencies": {
            f"cdf-{name}": figures.latency_cdf(table, name) for name in LATENCY_NAMES
        },
        "Latency over time": {f"over-time-{name}": chart for name, chart in over_time.items()},
        "Load over time": {
            "batch": figures.batch_over_time(run),
            "kv": figures.kv_over_time(run),
            "tokens": figures.tokens_over_time(run),
            "power": figures.power_over_time(run),
        },
    }


def _drawable(charts: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Vega-Lite specifications, as wide as the page allows, of the charts that have data."""
    specs = {}
    for name, chart in charts.items():
        if chart is None or not chart.data.values:
            continue
        spec = chart.properties(width="container", height=220).to_dict()
        spec.pop("config", None)
        specs[name] = spec
    return specs


def _section(title: str, charts: Mapping[str, Any]) -> str:
    if not charts:
        return f'<h2>{title}</h2>\n<p class="quiet">The run recorded nothing to draw here.</p>'
    figures_ = "\n".join(
        f'<figure><div class="chart" id="{name}"></div></figure>' for name in charts
    )
    return f'<h2>{title}</h2>\n<div class="charts">\n{figures_}\n</div>'


def _latencies(metrics: dict[str, Any]) -> str:
    head = "".join(f"<th>{name}</th>" for name in PERCENTILE_COLUMNS)
    rows = []
    for key, label in LATENCY_ROWS.items():
        unit, cells = latency_cells(key, metrics[key])
        figures_ = "".join(f"<td>{cell}</td>" for cell in cells)
        rows.append(f"<tr><th>{label}</th>{figures_}<td>{unit}</td></tr>")
    body = "\n".join(rows)
    return (
        '<div class="scroll"><table class="figures">'
        f"<thead><tr><th></th>{head}<th></th></tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _pairs(lines: Mapping[str, object]) -> str:
    rows = (f"<tr><th>{_text(k)}</th><td>{_text(v)}</td></tr>" for k, v in lines.items())
    return "<table>\n" + "\n".join(rows) + "\n</table>"


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, object]:
    """Lay nested settings out as `outer.inner` labels."""
    flat: dict[str, object] = {}
    for key, item in value.items():
        if isinstance(item, Mapping):
            flat.update(_flat(item, f"{prefix}{key}."))
        else:
            shown = f"{item:,.6g}" if isinstance(item, float) else item
            if isinstance(item, list):
                shown = ", ".join(map(str, item))
            flat[f"{prefix}{key}"] = "not set" if item is None else shown
    return flat


def _definitions() -> str:
    items: Iterable[str] = (
        f"<dt>{_text(word)}</dt><dd>{_text(meaning)}</dd>" for word, meaning in DEFINITIONS.items()
    )
    return "<dl>" + "\n".join(items) + "</dl>"


def inline_json(value: Any) -> str:
    """Return strict JSON that no string within can end a script element with."""
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c")


def _text(value: object) -> str:
    return html.escape(printable(value))


@cache
def _library() -> str:
    """Vega, Vega-Lite and vega-embed in one script, which vl-convert carries with it."""
    import vl_convert

    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return bundle.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _asset(name: str) -> str:
    return resources.files("servetwin.report").joinpath("assets", name).read_text("utf-8")


def _hash(script: str) -> str:
    """The source expression by which a content security policy allows one inline script."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
