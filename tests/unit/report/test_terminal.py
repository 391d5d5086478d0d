"""The summary on a terminal: 80 columns, no control characters, every figure there."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from servetwin.report import print_summary
from servetwin.report.facts import facts
from servetwin.report.wording import formatted, latency_cells, number, outcome
from servetwin.results import parse_slo, summary
from servetwin.types import RunResult, Status
from support.runs import Shape, request_table, synthetic_run

SLO = parse_slo("ttft=500ms,tpot=50ms,e2e=10s")


def printed(content: dict[str, Any], width: int = 80, colour: bool = False) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=colour, color_system=None)
    print_summary(content, console)
    return stream.getvalue()


def test_everything_a_reader_asks_for_is_there() -> None:
    text = printed(summary(synthetic_run(), SLO))
    for word in (
        "meta-llama/Llama-3.1-8B",
        "A100-80GB",
        "tp 1",
        "2 replicas",
        "synthetic, 400 requests",
        "derived: roofline",
        "16.1 GB weights, 1.22 GB runtime, 8.59 GB KV cache on each GPU",
        "TTFT",
        "TPOT",
        "ITL",
        "Queue",
        "E2E",
        "p99",
        "output tokens/s",
        "missed: ",
        "of requests within TTFT ≤ 500 ms (",
        " %) and TPOT ≤ 50 ms (",
        " %) and E2E ≤ 10 s (",
        "99 % wanted",
        "397 of 400, 3 rejected",
        "Preemptions",
        "2,222 of 4,096 blocks",
        "Costs are derived from data sheets",
    ):
        assert word in " ".join(text.split()), word


def test_tiers_show_their_speeds() -> None:
    content = summary(synthetic_run())
    assert "KV tiers" not in facts(content)
    content["config"]["kv_tier"] = ["host=64GB@25GB/s,latency=10us", "ssd=1TB@7.877GB/s"]
    content["config"]["decode_kv_tier"] = ["host=1GB@25GB/s,latency=1us"]
    assert facts(content)["KV tiers"] == (
        "host=64GB@25GB/s,latency=10us; ssd=1TB@7.877GB/s; decode host=1GB@25GB/s,latency=1us"
    )
    content["config"] = {"kv_tier": "none"}
    assert "KV tiers" not in facts(content)


def test_settings_that_change_the_result_are_shown() -> None:
    content = summary(synthetic_run())
    plain = facts(content)
    assert "graphs" not in plain["Engine"]
    content["config"] |= {"max_cudagraph_capture_size": 64, "frontend": "none"}
    assert facts(content)["Engine"].endswith("CUDA graphs up to 64 tokens")
    assert facts(content)["Front end"].startswith("none")
    content["config"]["enforce_eager"] = True
    assert facts(content)["Engine"].endswith("eager, without CUDA graphs")


def test_a_single_limit_is_said_once() -> None:
    lines = outcome(summary(synthetic_run(), parse_slo("ttft=1.5s,p=0.5"))["metrics"])
    assert re.fullmatch(
        r"met: [0-9.]+ % of requests within TTFT ≤ 1.5 s; 50 % wanted", lines["SLO"]
    )
    assert re.fullmatch(r"[0-9.]+ requests/s within the SLO", lines["Goodput"])


def test_what_misses_by_little_does_not_look_met() -> None:
    metrics = summary(synthetic_run(), parse_slo("ttft=1s"))["metrics"]
    metrics["slo"] |= {"attained": {"ttft": 0.989999, "all": 0.989999}, "met": False}
    assert outcome(metrics)["SLO"].startswith("missed: 98.99 % of")
    metrics["slo"] |= {"attained": {"ttft": 0.29, "all": 0.29}}
    assert outcome(metrics)["SLO"].startswith("missed: 29.00 % of")


@pytest.mark.parametrize(
    ("workload", "shown"),
    [
        ({"rps": 2.5, "span_s": 40.0, "follow_ups": 0}, "w, 100 requests, 2.50/s"),
        ({"rps": None, "span_s": 0.0, "follow_ups": 0}, "w, 100 requests, all at once"),
        (
            {"rps": None, "span_s": 0.0, "follow_ups": 92},
            "w, 100 requests, closed loop (8 begin at once, 92 follow an answer)",
        ),
        (
            {"rps": 0.5, "span_s": 20.0, "follow_ups": 90},
            "w, 100 requests, closed loop (10 begin at 0.500/s, 90 follow an answer)",
        ),
        ({}, "w, 100 requests"),
    ],
)
def test_how_requests_come(workload: dict[str, Any], shown: str) -> None:
    run = synthetic_run(workload={"dataset": "w", "requests": 100, **workload})
    assert facts(summary(run))["Workload"] == shown


LONG = "x" * 300
RUNS = {
    "usual": synthetic_run(),
    "empty": synthetic_run(
        requests=request_table(arrival=[]), config={}, workload={}, provenance={}, notes=()
    ),
    "rejected": synthetic_run(requests=request_table(arrival=[0], status=[Status.REJECTED])),
    "long words": synthetic_run(
        config={"model": LONG, "gpu": LONG, "replicas": 10**6, "router": LONG},
        workload={"dataset": LONG, "source": LONG, "requests": 10**9, "rps": 1e-9},
        notes=(LONG, "word " * 100, "語" * 200),
    ),
    "huge": synthetic_run(
        requests=request_table(
            arrival=[0, 0],
            first_scheduled=[1, 5 * 10**18],
            first_token=[2, 6 * 10**18],
            finish=[9, 7 * 10**18],
            output_tokens=[2, 10**8],
        )
    ),
    "odd types": synthetic_run(
        config={"model": None, "gpu": ["a"], "tp": "x", "max_num_seqs": True},
        workload={"requests": "many", "rps": "fast", "input_tokens": 5},
        provenance={"cost_model": "none"},
    ),
}


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("width", [80, 100, 200])
def test_no_line_is_longer_than_the_terminal(name: str, width: int) -> None:
    run: RunResult = RUNS[name]
    for slo in (None, SLO):
        lines = printed(summary(run, slo), width).splitlines()
        assert max(cell_len(line) for line in lines) <= width
        assert "…" not in "".join(lines)


def test_no_line_begins_with_a_per_cent_sign() -> None:
    content = summary(synthetic_run(notes=("12 % of 345 % are 6 % or 78 %; " * 20,)))
    for width in range(40, 100):
        lines = printed(content, width).splitlines()
        assert not [line for line in lines if line.strip().startswith("%")]
        assert max(map(len, lines)) <= width or width < 70  # the table of latencies is wider


def test_strings_of_a_run_can_neither_style_nor_steer_the_terminal() -> None:
    run = synthetic_run(
        config={"model": "[red]m[/red]\x1b[2J\x07\r\nx"}, notes=("[bold]", "\x9b1m")
    )
    text = printed(summary(run))
    assert "[red]m[/red]" in text
    assert "[bold]" in text
    assert all(char.isprintable() or char == "\n" for char in text)


@pytest.mark.parametrize(
    ("value", "specification", "shown"),
    [
        (1234.567, ",.2f", "1,234.57"),
        (0.1, ",.2f", "0.10"),
        (0.0052, ",.2f", "0.00520"),
        (-0.0000213, ",.2f", "-2.13e-05"),
        (0.0, ",.2f", "0.00"),
        (3.2, ",.0f", "3.20"),
        (32.0, ",.0f", "32"),
    ],
)
def test_small_figures_do_not_look_like_none(value: float, specification: str, shown: str) -> None:
    assert formatted(value, specification) == shown


@given(st.floats(1e-9, 1e12))
def test_numbers_keep_three_digits(value: float) -> None:
    shown = float(number(value).replace(",", ""))
    assert shown == pytest.approx(value, rel=0.0051)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        (0, "0"),
        (0.0, "0.0"),
        (1234567, "1,234,567"),
        (1234.5, "1,234"),
        (12.345, "12.3"),
        (0.5, "0.500"),
        (0.01234, "0.0123"),
    ],
)
def test_numbers(value: float | None, shown: str) -> None:
    assert number(value) == shown


def stats(p50: float | None, largest: float | None) -> dict[str, float | None]:
    return dict.fromkeys(("mean", "p50", "p90", "p95", "p99"), p50) | {"max": largest}


@pytest.mark.parametrize(
    ("key", "p50", "largest", "unit", "last"),
    [
        ("ttft_ms", 250.0, 3000.0, "ms", "3,000"),
        ("ttft_ms", 2500.0, 3000.0, "s", "3.00"),
        ("ttft_ms", 250.0, 300_000.0, "s", "300"),
        ("queue_ms", 0.0, 0.0, "ms", "0.0"),
        ("queue_ms", 0.25, 0.5, "µs", "500"),
        ("e2e_latency_s", 0.25, 0.5, "ms", "500"),
        ("e2e_latency_s", 25.0, 50.0, "s", "50.0"),
        ("e2e_latency_s", None, None, "ms", "-"),
    ],
)
def test_a_row_is_shown_in_the_unit_that_suits_it(
    key: str, p50: float | None, largest: float | None, unit: str, last: str
) -> None:
    found, cells = latency_cells(key, stats(p50, largest))
    assert (found, cells[-1]) == (unit, last)


def test_a_pipe_gets_no_escape_codes() -> None:
    text = printed(summary(synthetic_run(Shape(requests=50))))
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("preempted", "rest"),
    [(0.0, "60 % prefill of others"), (0.1, "60 % prefill of others or preemption")],
)
def test_the_rest_of_a_ttft_names_preemption_where_there_was_one(
    preempted: float, rest: str
) -> None:
    metrics = summary(synthetic_run())["metrics"]
    e2e, ttft = {"decode": 1.0, "preemption": preempted}, {"own_prefill": 0.4, "rest": 0.6}
    metrics["attribution"] = {n: {"all": p, "p99": p} for n, p in (("e2e", e2e), ("ttft", ttft))}
    assert outcome(metrics)["Slow TTFT"].endswith(f"from P99 up: {rest}, 40 % own prefill")


@pytest.mark.parametrize(
    ("usd", "shown"),
    [(0.0, "$0"), (0.0000213, "$2.13e-05"), (4.276, "$4.28"), (7.55e9, "$7,550,000,000")],
)
def test_dollars(usd: float, shown: str) -> None:
    metrics = summary(synthetic_run())["metrics"]
    metrics["cost"] = {"usd": usd, "usd_per_million_output_tokens": usd}
    assert outcome(metrics)["Cost"] == f"{shown}, {shown} per million output tokens"
