"""What is said of load curves whose points are known."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from servetwin.report import print_load_curve
from servetwin.report.load_page import load_page
from servetwin.report.load_wording import figure, verdict
from servetwin.results import LoadPoint
from servetwin.studies.load_curve import LoadCurve, describe

ABOUT: dict[str, Any] = {
    "provenance": {"cost_model": {"level": "derived", "source": "roofline"}},
    "config": {"model": "m", "gpu": "g", "tp": 2, "replicas": 3, "router": "random"},
    "workload": {"dataset": "chat", "requests": 1234, "rps": None, "span_s": None},
    "notes": ["<b>as they say</b>"],
}


def point(rps: float, p99: float | None, met: bool | None = None) -> LoadPoint:
    return LoadPoint(
        offered_rps=rps,
        ttft_p50_ms=1.0,
        ttft_p99_ms=p99,
        tpot_p50_ms=1.0,
        tpot_p99_ms=1.0,
        e2e_mean_s=p99,
        e2e_p50_s=1.0,
        e2e_p99_s=1.0,
        completed_rps=rps,
        throughput_token_s=123_456.7,
        goodput_rps=None if met is None else rps,
        meets_slo=met,
    )


def content(*points: LoadPoint, completed: int = 100, **more: Any) -> dict[str, Any]:
    return describe(LoadCurve(points, (completed,) * len(points), **more), ABOUT)


def said(*points: LoadPoint, completed: int = 100) -> dict[str, str]:
    return verdict(content(*points, completed=completed))


def test_the_verdict() -> None:
    found = said(point(1, 10, True), point(2, 12, True), point(4, 99, False))
    assert found == {
        "Knee": "2 requests/s, the most throughput per latency",
        "Limit": "4 requests/s, where P99 TTFT or E2E is more than 50 % above that at 1/s",
        "SLO": "met up to 2 requests/s",
    }


def test_what_the_rates_do_not_tell() -> None:
    found = said(point(1, 10), point(2, 10), point(4, 10))
    assert found["Knee"].endswith("; the highest rate tried, try higher ones")
    assert found["Limit"] == "not reached; P99 TTFT and E2E stay within 50 % of those at 1/s"
    assert "SLO" not in found
    found = said(point(1, 10), point(2, 10), completed=99)
    assert found["Knee"].startswith("unknown; it takes three rates")
    assert found["Limit"].startswith("unknown; no rate completed 100 requests")


@pytest.mark.parametrize(
    ("met", "line"),
    [
        ([False, False, False], "met at none of these rates"),
        ([True, True, True], "met at all of these rates"),
        ([True, False, False], "met up to 1 requests/s"),
        ([True, False, True], "met at 1, 4 requests/s alone"),
        ([False, True, True], "met at 2, 4 requests/s alone"),
    ],
)
def test_where_the_slo_is_met(met: list[bool], line: str) -> None:
    points = [point(rate, 10, ok) for rate, ok in zip((1, 2, 4), met, strict=True)]
    assert said(*points)["SLO"] == line


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "-"), (0.0, "0.00"), (0.5, "0.500"), (12.0, "12.0"), (999.4, "999"), (1234.5, "1,234")],
)
def test_figures_align(value: float | None, shown: str) -> None:
    assert figure(value) == shown


def test_terminal_and_page_say_the_same() -> None:
    points = (point(1, 10, True), point(2, None, False))
    found = content(*points, overloaded=(2,))
    stream = io.StringIO()
    print_load_curve(found, Console(file=stream, width=80))
    printed = stream.getvalue()
    assert max(map(len, printed.splitlines())) <= 80
    page = load_page(points, found)
    for text in ("Load curve: m on g, simulated", "3 replicas", "chat, 1,234 requests", "123,457"):
        assert text in printed
        assert text in page
    assert "<b>as they say</b>" in printed
    assert "&lt;b&gt;as they say&lt;/b&gt;" in page
    assert "Overload at 2 requests/s" in page
    assert "http://" not in page.split("<script")[0]
