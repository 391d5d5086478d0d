"""The figures of the guide on pipelines are those of the program."""

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

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "pipelines.md"
TEXT = " ".join(GUIDE.read_text("utf-8").split())
BASE = {
    "model": "meta-llama/Llama-3.1-70B",
    "gpu": "A100-80GB",
    "workload": "azure-conv",
    "requests": 2000,
    "rps": 1.2,
}
SWAPPING = {"microbatches": 8, "resident_microbatches": 4, "host_link": "PCIe4"}
UNEVEN = {"stage_layers": (17, 21, 21, 21), "stage_speeds": (0.8, 1.0, 1.0, 1.0)}


@cache
def metrics(**settings: Any) -> dict[str, Any]:
    prepared = prepare(RunSettings.model_validate(BASE | settings))
    run = simulate(prepared.deployment, prepared.workload, prepared.cost, SimOptions())
    found: dict[str, Any] = summary(run)["metrics"]
    return found


def seconds(found: dict[str, Any]) -> str:
    ttft = found["ttft_ms"]["p90"] / 1e3
    return f"{ttft:.0f} s" if ttft >= 10 else f"{ttft:.1f} s"


def tpot(found: dict[str, Any]) -> str:
    return f"{found['tpot_ms']['p90']:,.0f} ms"


def tokens(found: dict[str, Any]) -> str:
    return f"{found['throughput_token_s']:.0f}"


@pytest.mark.parametrize(
    ("label", "settings"),
    [
        ("`--pp 4 --microbatches 1`: one iteration at a time", {"pp": 4, "microbatches": 1}),
        ("`--pp 4`", {"pp": 4}),
        ("`--tp 4`, for comparison, over the NVLink of these GPUs", {"tp": 4}),
    ],
)
def test_the_table(label: str, settings: dict[str, Any]) -> None:
    assert "| 2,000 requests at 1.2/s on four A100-80GB |" in GUIDE.read_text("utf-8")
    found = metrics(**settings)
    row = f"| {label} | {seconds(found)} | {tpot(found)} | {tokens(found)} |"
    assert row in GUIDE.read_text("utf-8"), row


def test_how_busy_the_stages_are() -> None:
    found = metrics(pp=4)
    assert f"Pipeline {outcome(found)['Pipeline']}" in TEXT
    parts = found["attribution"]["e2e"]["all"]
    share = parts["stage_wait"] / sum(parts.values())
    assert f"*waiting for a stage*: {share * 100:.0f} % of the mean E2E here" in TEXT


def test_slower_links() -> None:
    slow = {name: metrics(pp=4, link=name) for name in ("PCIe4", "Ethernet-25G")}
    sliced = {name: metrics(tp=4, link=name) for name in slow}
    told = (
        f"With `--link PCIe4` TPOT P90 of `--pp 4` is {tpot(slow['PCIe4'])} instead of "
        f"{tpot(metrics(pp=4)).removesuffix(' ms')}, that of `--tp 4` {tpot(sliced['PCIe4'])} "
        f"instead of {tpot(metrics(tp=4)).removesuffix(' ms')}"
    )
    assert told in TEXT, told
    far = sliced["Ethernet-25G"]["ttft_ms"]["p90"] / 1e3
    told = (
        f"with `--link Ethernet-25G` it is {tpot(slow['Ethernet-25G'])}, and `--tp 4` is "
        f"overloaded: its TTFT P90 is {far:,.0f} s"
    )
    assert told in TEXT, told


def test_the_slowest_stage() -> None:
    assert "--stage-layers 17,21,21,21 --stage-speeds 0.8,1,1,1" in TEXT
    assert "17 layers on GPUs of 0.8 of the speed are as much work as 21.25" in TEXT
    assert 17 / 0.8 == 21.25
    busy = metrics(pp=4, requests=500, rps=1, **UNEVEN)["pipeline"]["utilization"]
    assert max(busy) == busy[0] > busy[1]


def test_swapping_does_not_pay_here() -> None:
    assert "--microbatches 8 --resident-microbatches 4 --host-link PCIe4" in TEXT
    swapping, without = (tokens(metrics(pp=4, **more)) for more in (SWAPPING, {}))
    told = (
        f"at 1.2 requests/s the 2,000 requests above get {swapping} tokens/s instead of {without}"
    )
    assert told in TEXT, told


def test_the_share_of_a_microbatch() -> None:
    assert "Each microbatch has a quarter of the sequences" in TEXT
    whole, quarter = (
        metrics(pp=4, microbatches=count)["kv_cache"]["capacity_blocks"] for count in (1, 4)
    )
    assert quarter == whole // 4
