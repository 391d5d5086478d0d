"""The HTML report: self-contained, inert, bounded."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from servetwin.errors import InputError
from servetwin.report.definitions import DEFINITIONS
from servetwin.report.html import page, write_report
from servetwin.report.page import flat, inline_json
from servetwin.results import Slo, write_run
from servetwin.types import Status
from support.runs import Shape, request_table, synthetic_run

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>'\"&$title"


class Page(HTMLParser):
    """Tags with their attributes, scripts and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.words: list[str] = []
        self.within: str = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.within = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002 (the base class names it)
        self.within = ""

    def handle_data(self, data: str) -> None:
        if self.within == "script":
            self.scripts[-1] += data
        elif self.within != "style":
            self.words.append(data.replace("\N{NO-BREAK SPACE}", " "))


@pytest.fixture(scope="module")
def usual() -> Page:
    return Page(page(synthetic_run(), Slo(ttft=10**12)))


def test_no_line_begins_with_a_per_cent_sign() -> None:
    text = page(synthetic_run(), Slo(ttft=10**12))
    assert "&nbsp;% wanted" in text
    assert " %" not in text.partition("<noscript>")[0].partition("<body>")[2]


def test_the_page_names_what_was_run_and_defines_its_words(usual: Page) -> None:
    text = "\n".join(usual.words)
    for word in ("meta-llama/Llama-3.1-8B on A100-80GB, simulated", "cost_model.level", "router"):
        assert word in text
    for word, meaning in DEFINITIONS.items():
        assert word in text
        assert meaning in text


def test_nothing_is_loaded_from_anywhere(usual: Page) -> None:
    for tag, attributes in usual.tags:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base", "form"), tag
        assert not {"src", "href", "srcset", "style"} & set(attributes), (tag, attributes)
    policy = next(a["content"] for t, a in usual.tags if "http-equiv" in a)
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "http" not in policy
    assert "unsafe-eval" not in policy


def test_only_the_two_own_scripts_may_run(usual: Page) -> None:
    data, *scripts = usual.scripts
    assert json.loads(data)
    policy = next(a["content"] for t, a in usual.tags if "http-equiv" in a) or ""
    allowed = re.findall(r"'sha256-([^']+)'", policy)
    digests = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts]
    assert digests == allowed
    assert "script-src 'unsafe-inline'" not in policy


def test_strings_of_a_run_are_inert() -> None:
    run = synthetic_run(
        config={"model": EVIL, EVIL: EVIL},
        provenance={"command": EVIL, "created_at": EVIL, "cost_model": {"source": EVIL}},
        workload={"dataset": EVIL, "source": EVIL},
        notes=(EVIL,),
    )
    found = Page(page(run))
    assert len(found.scripts) == 3
    assert not any(tag == "img" for tag, _ in found.tags)
    assert not any(key.startswith("on") for _, attributes in found.tags for key in attributes)
    assert "".join(found.words).count("alert(1)") >= 8


def test_settings_are_laid_out_as_people_write_them() -> None:
    value = {"a": {"b": 131072, "c": None, "d": {"e": [1.5, 2000]}}, "f": True, "g": [], "h": "x"}
    assert flat(value) == {"a.b": "131,072", "a.d.e": "1.5, 2,000", "f": "yes", "h": "x"}


def test_json_within_the_page_cannot_end_its_script() -> None:
    assert "<" not in inline_json({EVIL: EVIL})
    assert json.loads(inline_json({EVIL: EVIL})) == {EVIL: EVIL}


def test_the_size_does_not_grow_with_the_run() -> None:
    small = len(page(synthetic_run(Shape(requests=2000))))
    n = 300_000
    rng = np.random.default_rng(0)
    arrival = np.sort(rng.integers(0, 10**15, n))
    first = arrival + rng.integers(10**9, 10**12, n)
    table = request_table(
        arrival=arrival,
        first_scheduled=arrival + 1,
        first_token=first,
        finish=first + rng.integers(10**9, 10**13, n),
        output_tokens=np.full(n, 100, np.int32),
    )
    large = len(page(synthetic_run(requests=table)))
    assert large < small * 1.1 < 2_000_000


@pytest.mark.parametrize(
    "table",
    [
        request_table(arrival=[]),
        request_table(arrival=[0], status=[Status.REJECTED]),
        request_table(arrival=[7], first_scheduled=[7], first_token=[7], finish=[7]),
    ],
)
def test_runs_with_nothing_to_draw_have_a_page(table: object) -> None:
    found = Page(page(synthetic_run(requests=table, timeline=None, token_gaps=None)))
    assert "The run recorded nothing to draw here." in "\n".join(found.words)


def test_the_report_is_written_with_the_run(tmp_path: Path) -> None:
    run = synthetic_run()
    write_run(run, tmp_path, extra={"report.html": lambda path: write_report(run, path)})
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
    with pytest.raises(InputError, match="cannot write to"):
        write_report(run, tmp_path / "nowhere" / "report.html")
