"""What a run says of each priority."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from servetwin.report.terminal import print_summary
from servetwin.results import compute, read_run, summary, write_run
from servetwin.results.schema import check
from servetwin.types import RunResult, Status
from servetwin.units import PS_PER_MS, PS_PER_S
from support.runs import Shape, synthetic_run


def prioritized(*classes: int, requests: int = 500) -> RunResult:
    run = synthetic_run(Shape(requests=requests))
    priority = np.resize(np.array(classes, np.int32), requests)
    return replace(run, requests=replace(run.requests, priority=priority))


def test_each_class_has_the_latencies_of_its_requests() -> None:
    run = prioritized(3, -1, 3)
    table = run.requests
    assert table.priority is not None
    entries = compute(run)["priorities"]
    assert [entry["priority"] for entry in entries] == [-1, 3]
    for entry in entries:
        own = table.priority == entry["priority"]
        ok = own & (table.status == Status.OK)
        ttft = (table.first_token - table.arrival)[ok] / PS_PER_MS
        e2e = (table.finish - table.arrival)[ok] / PS_PER_S
        assert entry["requests"] == own.sum()
        assert entry["completed"] == ok.sum()
        assert entry["preemptions"] == table.preemptions[own].sum()
        assert entry["ttft_ms"]["mean"] == pytest.approx(ttft.mean())
        assert entry["e2e_latency_s"]["p99"] == pytest.approx(np.percentile(e2e, 99))


def test_no_table_of_many_classes_or_of_none() -> None:
    assert compute(synthetic_run(Shape(requests=50)))["priorities"] is None
    assert compute(prioritized(*range(9)))["priorities"] is None
    assert len(compute(prioritized(*range(8)))["priorities"]) == 8


def test_files_keep_them(tmp_path: Path) -> None:
    run = prioritized(0, 1)
    written = write_run(run, tmp_path / "run")
    assert check(written, "summary")["metrics"]["priorities"][1]["priority"] == 1
    found = read_run(tmp_path / "run").requests.priority
    np.testing.assert_array_equal(found, run.requests.priority)
    write_run(synthetic_run(Shape(requests=50)), tmp_path / "without")
    assert read_run(tmp_path / "without").requests.priority is None


def test_the_terminal_has_a_line_for_each() -> None:
    console = Console(width=80, record=True, color_system=None)
    print_summary(summary(prioritized(0, -(2**31))), console)
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("  Priority 0  TTFT ") for line in lines)
    assert any(line.startswith("  -2147483648 TTFT ") for line in lines)
