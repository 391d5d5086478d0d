"""The figures of the guide on machines of several kinds are those of the program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from servetwin.cli.build import build_deployment, prepare
from servetwin.cli.energy import energy_options, with_energy
from servetwin.cli.settings import RunSettings
from servetwin.report.group_wording import group_lines
from servetwin.results import summary
from servetwin.sim import SimOptions, simulate

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "machines.md"
BASE = {"model": "meta-llama/Llama-3.1-8B", "workload": "azure-conv", "requests": 3000}
MIXED = {"gpu": "H100-SXM", "replicas": 2, "also": ["A100-80GB:3"], "rps": 30}
SLOW = {"gpu": "A100-80GB", "replicas": 3, "also": ["A100-80GB,speed=0.5"], "rps": 16}
EVEN = {"gpu": "A100-80GB", "replicas": 4, "rps": 16}


def figures(settings: dict[str, Any]) -> str:
    """TTFT and TPOT at P99, and mean and P99 of E2E, as cells of a table."""
    prepared = prepare(RunSettings(**(BASE | settings)))
    run = simulate(prepared.deployment, prepared.workload, prepared.cost, SimOptions())
    metrics = summary(run)["metrics"]
    groups, e2e = metrics["groups"], metrics["e2e_latency_s"]
    ttft, tpot = metrics["ttft_ms"]["p99"] / 1e3, metrics["tpot_ms"]["p99"]
    cells = [f"{ttft:.2f} s", f"{tpot:.0f} ms", f"{e2e['mean']:.1f} s", f"{e2e['p99']:.1f} s"]
    share = f"{groups[-1]['share'] * 100:.0f} %" if groups else "25 %"
    return " | ".join([share, *cells])


def test_the_lines_of_the_groups() -> None:
    asked = RunSettings(**(BASE | MIXED), router="least-outstanding")
    prepared = prepare(asked)
    run = simulate(prepared.deployment, prepared.workload, prepared.cost, SimOptions())
    run = with_energy(run, prepared, energy_options(asked))
    text = " ".join(GUIDE.read_text("utf-8").split())
    for label, line in group_lines(summary(run)["metrics"]["groups"]).items():
        assert f"{label} {line}" in text


@pytest.mark.parametrize(
    "router", ["round-robin", "power-of-two", "least-outstanding", "least-tokens"]
)
def test_the_table_of_routers(router: str) -> None:
    row = f"| `{router}` | {figures({**MIXED, 'router': router})} |"
    assert row in GUIDE.read_text("utf-8"), row


@pytest.mark.parametrize(
    ("label", "settings"),
    [
        ("all at full speed, `round-robin`", {**EVEN, "router": "round-robin"}),
        ("one at half, `round-robin`", {**SLOW, "router": "round-robin"}),
        ("one at half, `least-outstanding`", {**SLOW, "router": "least-outstanding"}),
        ("without it, `least-outstanding`", {**EVEN, "replicas": 3, "router": "least-outstanding"}),
    ],
)
def test_the_table_of_the_slow_machine(label: str, settings: dict[str, Any]) -> None:
    cells = figures(settings)
    if settings["replicas"] == 3 and "also" not in settings:
        cells = cells.replace("25 %", "-", 1)
    row = f"| {label} | {cells} |"
    assert row in GUIDE.read_text("utf-8"), row


def row(label: str) -> list[float]:
    """TTFT and TPOT at P99, mean and P99 of E2E, as the table above states them."""
    lines = GUIDE.read_text("utf-8").splitlines()
    (cells,) = (line.split("|")[3:7] for line in lines if line.startswith(f"| {label} |"))
    return [float(cell.split()[0]) for cell in cells]


def test_what_is_said_of_the_slow_machine() -> None:
    text = " ".join(GUIDE.read_text("utf-8").split())
    assert "makes the mean two and a half times as long under round-robin" in text
    even, slow = row("all at full speed, `round-robin`"), row("one at half, `round-robin`")
    assert slow[2] / even[2] == pytest.approx(2.5, abs=0.15)
    assert "it helps the mean a little, and hurts the tail all the same" in text
    counted = row("one at half, `least-outstanding`")
    without = row("without it, `least-outstanding`")
    assert 0.9 < counted[2] / without[2] < 1
    assert all(counted[place] > without[place] for place in (0, 1, 3))


def test_limits_are_those_of_the_first_kind() -> None:
    text = " ".join(GUIDE.read_text("utf-8").split())
    assert "an A100 alone would run at most 256 requests at once" in text
    alone = build_deployment(RunSettings(**BASE, gpu="A100-80GB"))[0]
    assert alone.settings.max_num_seqs == 256
    first, second = build_deployment(RunSettings(**BASE, **MIXED))[0].kinds
    assert second.settings.max_num_seqs == first.settings.max_num_seqs > 256
