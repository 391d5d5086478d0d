"""The frame of an HTML page that opens offline and loads nothing, and the parts of its body.

Strings are escaped by the functions that lay them out; a content security policy forbids the
page to load anything and to run any script but its own two.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from string import Template
from typing import Any

from servetwin.report.definitions import DEFINITIONS
from servetwin.report.wording import printable

__all__ = [
    "columns",
    "definitions",
    "drawn",
    "escaped",
    "flat",
    "framed",
    "inline_json",
    "notes",
    "pairs",
    "section",
    "specs_of",
    "table",
]

NO_SCRIPT = (
    '<noscript><p class="note">The charts need JavaScript; everything they need is in this '
    "file.</p></noscript>"
)

Specs = dict[str, dict[str, Any]]


def framed(title: str, body: Iterable[str], specs: Specs) -> str:
    """Return a whole page, about 1.1 MB; `specs` are drawn into the elements of their names."""
    library, script = _library(), _asset("report.js")
    values = {
        "title": html.escape(title),
        "body": "\n".join(body),
        "specs": inline_json(specs),
        "style": _asset("report.css"),
        "library": library,
        "script": script,
        "script_hashes": f"{_hash(library)} {_hash(script)}",
    }
    return Template(_asset("page.html")).substitute(values)


def specs_of(charts: Mapping[str, Any]) -> Specs:
    """Vega-Lite specifications, as wide as the page allows, of the charts that have data."""
    specs = {}
    for name, chart in charts.items():
        if chart is None or not _has_points(chart):
            continue
        spec = chart.properties(width="container", height=220).to_dict()
        spec.pop("config", None)
        specs[name] = spec
    return specs


def _has_points(chart: Any) -> bool:
    return any(layer.data.values for layer in getattr(chart, "layer", [chart]))


def drawn(title: str, specs: Specs) -> str:
    """A section with a place for each chart."""
    if not specs:
        return section(title, '<p class="quiet">The run recorded nothing to draw here.</p>')
    places = "\n".join(f'<figure><div class="chart" id="{name}"></div></figure>' for name in specs)
    return section(title, f'<div class="charts">\n{places}\n</div>')


def section(title: str, *body: str) -> str:
    """A part of the page under a heading."""
    return "\n".join((f"<h2>{html.escape(title)}</h2>", *body))


def columns(*parts: str) -> str:
    """Parts side by side where the page is wide enough."""
    body = "\n".join(f"<section>\n{part}\n</section>" for part in parts)
    return f'<div class="columns">\n{body}\n</div>'


def notes(lines: Iterable[object]) -> str:
    """What a reader should know, each in a box."""
    return "\n".join(f'<p class="note">{escaped(line)}</p>' for line in lines)


def pairs(lines: Mapping[str, object]) -> str:
    """A table of labels and what they stand for."""
    rows = (f"<tr><th>{escaped(k)}</th><td>{escaped(v)}</td></tr>" for k, v in lines.items())
    return "<table>\n" + "\n".join(rows) + "\n</table>"


def table(heads: Iterable[str], rows: Iterable[Iterable[str]], kind: str = "figures") -> str:
    """A table of figures; the first cell of each row names it.

    `kind` is `figures`, or `figures units` where the last cell is their unit.
    """
    head = "".join(f"<th>{escaped(cell)}</th>" for cell in heads)
    lines = []
    for label, *cells in rows:
        figures = "".join(f"<td>{escaped(cell)}</td>" for cell in cells)
        lines.append(f"<tr><th>{escaped(label)}</th>{figures}</tr>")
    body = "\n".join(lines)
    return (
        f'<div class="scroll"><table class="{kind}">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, object]:
    """Lay nested settings out as `outer.inner` labels; what is not set is left out."""
    found: dict[str, object] = {}
    for key, item in value.items():
        if isinstance(item, Mapping):
            found.update(flat(item, f"{prefix}{key}."))
        elif item is not None and item != []:
            found[f"{prefix}{key}"] = _shown(item)
    return found


def _shown(item: object) -> str:
    match item:
        case bool():
            return "yes" if item else "no"
        case int():
            return f"{item:,}"
        case float():
            return f"{item:,.6g}"
        case list():
            return ", ".join(map(_shown, item))
    return str(item)


def definitions() -> str:
    """What the words of the page mean."""
    items: Iterable[str] = (
        f"<dt>{escaped(word)}</dt><dd>{escaped(meaning)}</dd>"
        for word, meaning in DEFINITIONS.items()
    )
    return "<dl>" + "\n".join(items) + "</dl>"


def inline_json(value: Any) -> str:
    """Return strict JSON that no string within can end a script element with."""
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c")


def escaped(value: object) -> str:
    """Text that is shown as it is, whatever it holds; no line ends before a per cent sign."""
    return html.escape(printable(value)).replace(" %", "&nbsp;%")


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
