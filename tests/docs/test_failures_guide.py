"""The figures of the guide on failures are those of the program."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from servetwin.cli.build import prepare
from servetwin.cli.settings import RunSettings
from servetwin.report.wording import outcome
from servetwin.results import summary
from servetwin.sim import SimOptions, simulate

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "failures.md"
LINES = GUIDE.read_text("utf-8")
TEXT = " ".join(LINES.split())
BASE = {
    "model": "meta-llama/Llama-3.1-8B",
    "gpu": "A100-80GB",
    "replicas": 2,
    "workload": "azure-conv",
    "requests": 3000,
}
HALF = {8: "188s:0", 12: "125s:0"}
"""By requests a second: the middle of the run."""
COPIES = {
    "without copies": {},
    "without, `--no-reroute`": {"reroute": False},
    "on the neighbour": {"kv_replication": "neighbour"},
    "in host memory": {"kv_replication": "host"},
}


@cache
def metrics(**settings: Any) -> dict[str, Any]:
    prepared = prepare(RunSettings.model_validate(BASE | settings))
    options = SimOptions(snapshot_interval=0, token_gaps=False)
    run = simulate(prepared.deployment, prepared.workload, prepared.cost, options)
    found: dict[str, Any] = summary(run)["metrics"]
    return found


def failures(rps: int, copies: str) -> dict[str, Any]:
    found: dict[str, Any] = metrics(rps=rps, fail_at=HALF[rps], **COPIES[copies])["failures"]
    return found


@pytest.mark.parametrize("rps", HALF)
@pytest.mark.parametrize("copies", COPIES)
def test_the_table(rps: int, copies: str) -> None:
    assert "(and 188 s)" in TEXT
    assert "(and 125 s)" in TEXT
    found = failures(rps, copies)
    later = found["added_latency_s"]
    lost = f"{found['lost_prompt_tokens']:,}, {found['lost_output_tokens']:,}"
    row = (
        f"| {rps}/s, {copies} | {found['downtime_s']:.1f} s | {found['begun_anew']} | {lost} "
        f"| {found['rerouted']} | {later['mean']:.2f} s | {later['max']:.1f} s |"
    )
    assert row in LINES, row


def test_the_middle_of_the_runs() -> None:
    for rps, at in HALF.items():
        half = float(at.removesuffix("s:0"))
        assert half == pytest.approx(metrics(rps=rps)["makespan_s"] / 2, rel=0.03)


def test_what_the_run_prints() -> None:
    found = metrics(rps=8, fail_at=HALF[8])
    lines = outcome(found)
    for label in ("Failures", "Lost work", "Delay"):
        assert f"{label} {lines[label]}" in TEXT
    slow = found["attribution"]["e2e"]["p99"]
    share = slow["outage"] / sum(slow.values())
    assert f"Of the slowest hundredth, {share * 100:.0f} % of the time is the *outage*" in TEXT


def test_what_copies_save_of_the_longest_delay() -> None:
    saved = [
        1 - failures(rps, copied)["added_latency_s"]["max"] / none["added_latency_s"]["max"]
        for rps in HALF
        for none in (failures(rps, "without copies"),)
        for copied in ("on the neighbour", "in host memory")
    ]
    told = f"{min(saved) * 100:.0f} to {max(saved) * 100:.0f} % of the longest delay"
    assert told in TEXT, told


def test_both_engines_down() -> None:
    begun = {
        where: metrics(rps=8, fail_at="188s:0,200s:1", kv_replication=where)["failures"]
        for where in ("neighbour", "none", "host")
    }
    neighbour, none, host = (found["begun_anew"] for found in begun.values())
    assert host == 0
    assert f"{neighbour} requests begin anew, {none} without copies, and none with" in TEXT


def test_how_long_engines_are_away() -> None:
    found = failures(8, "without copies")
    assert RunSettings(**BASE).detect == "3s"
    assert found["restart_s"] == pytest.approx(20 + 16.06 / 2, rel=0.01)
    assert "(`--detect`, 3 s)" in TEXT
    assert "20 s, and the time to load the weights at 2 GB/s for each GPU" in TEXT
    assert round(found["downtime_s"]) == 31  # half a minute, as the text says
