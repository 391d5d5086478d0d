"""report.html in a real browser: every chart is drawn, and nothing is loaded or complained of."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from servetwin.report import figures
from servetwin.report.html import write_report
from servetwin.results import load_point, parse_slo, summary
from servetwin.studies.load_curve import LoadCurve, describe, write_curve
from support.runs import Shape, synthetic_run

pytestmark = pytest.mark.browser

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--virtual-time-budget=20000",
    "--enable-logging=stderr",
)
CHARTS = {
    *(f"cdf-{name}" for name in ("ttft", "tpot", "queue", "e2e")),
    *(f"over-time-{name}" for name in ("ttft", "tpot")),
    "batch",
    "kv",
    "tokens",
}
LINES = 4 * 1 + 5 * 2
"""Each distribution is one line, everything over time two."""


@pytest.fixture(scope="module")
def browser() -> str:
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed")
    return found


class Opened:
    """What a browser made of a page: its document, and what it wrote to the console."""

    def __init__(self, browser: str, page: Path, profile: Path) -> None:
        done = subprocess.run(
            [browser, *QUIET, f"--user-data-dir={profile}", "--dump-dom", page.as_uri()],
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        self.dom = re.sub(r"<script.*?</script>", "", done.stdout, flags=re.DOTALL)
        self.console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def test_every_chart_of_a_report_is_drawn(browser: str, tmp_path: Path) -> None:
    run = synthetic_run(Shape(requests=800, rps=6))
    write_report(run, tmp_path / "report.html", parse_slo("ttft=500ms"))
    opened = Opened(browser, tmp_path / "report.html", tmp_path / "profile")
    assert opened.console == []
    assert 'data-charts="drawn"' in opened.dom
    drawn = re.findall(r'<div class="chart[^"]*" id="([a-z0-9-]+)"[^>]*>.*?<svg', opened.dom)
    assert set(drawn) == CHARTS
    assert opened.dom.count('class="marks"') == len(CHARTS)
    assert opened.dom.count("mark-line role-mark") == LINES
    headings = re.findall(r"<h2>(.*?)</h2>", opened.dom)
    for heading in ("Latency", "Load over time", "Settings", "Provenance", "Definitions"):
        assert heading in headings


def test_a_hostile_model_name_does_nothing(browser: str, tmp_path: Path) -> None:
    attack = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    run = synthetic_run(Shape(requests=60), config={"model": attack}, notes=(attack,))
    write_report(run, tmp_path / "report.html")
    opened = Opened(browser, tmp_path / "report.html", tmp_path / "profile")
    assert opened.console == []
    assert "<title>owned" not in opened.dom
    assert 'data-charts="drawn"' in opened.dom


def test_a_load_curve_is_drawn(browser: str, tmp_path: Path) -> None:
    rates = (1.0, 4.0, 8.0)
    runs = [synthetic_run(Shape(requests=100, rps=rate)) for rate in rates]
    points = [load_point(r, summary(run)) for r, run in zip(rates, runs, strict=True)]
    curve = LoadCurve(tuple(points), (97, 97, 97))
    about = summary(runs[0])
    write_curve(curve, describe(curve, about), tmp_path / "curve")
    opened = Opened(browser, tmp_path / "curve" / "load_curve.html", tmp_path / "profile")
    assert opened.console == []
    assert 'data-charts="drawn"' in opened.dom
    title = "Load curve: meta-llama/Llama-3.1-8B on A100-80GB, simulated"
    assert f"<title>{title}</title>" in opened.dom
    assert f"<h1>{title}</h1>" in opened.dom
    drawn = re.findall(r'<div class="chart[^"]*" id="([a-z0-9-]+)"[^>]*>.*?<svg', opened.dom)
    assert drawn == ["ttft", "tpot", "e2e", "throughput", "requests"]


def test_a_saved_figure_opens_offline(browser: str, tmp_path: Path) -> None:
    figures.save(figures.latency_cdf(synthetic_run().requests, "ttft"), tmp_path / "cdf.html")
    opened = Opened(browser, tmp_path / "cdf.html", tmp_path / "profile")
    assert opened.console == []
    assert "<canvas" in opened.dom or "<svg" in opened.dom
