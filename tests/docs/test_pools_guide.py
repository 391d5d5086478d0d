"""The figures of the guide on pools that need no trace are those of the program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from servetwin.catalog import find_model
from servetwin.cli.build import prepare
from servetwin.cli.settings import RunSettings
from servetwin.cost import kv_bytes
from servetwin.results import parse_slo, summary
from servetwin.sim import SimOptions, simulate
from servetwin.studies.pool_split.search import STEP

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "pools.md"
TEXT = " ".join(GUIDE.read_text("utf-8").split())
RUN = {
    "model": "meta-llama/Llama-3.1-8B",
    "gpu": "H100-SXM",
    "workload": "azure-conv",
    "requests": 2000,
    "rps": 30,
}
SLO = parse_slo("ttft=500ms,tpot=15ms")


def metrics(split: dict[str, int]) -> dict[str, Any]:
    prepared = prepare(RunSettings.model_validate({**RUN, **split}))
    run = simulate(prepared.deployment, prepared.workload, prepared.cost, SimOptions())
    found: dict[str, Any] = summary(run, SLO)["metrics"]
    return found


@pytest.mark.parametrize(
    ("label", "split"),
    [
        ("1 + 3", {"prefill_replicas": 1, "decode_replicas": 3}),
        ("2 + 2", {"prefill_replicas": 2, "decode_replicas": 2}),
        ("3 + 1", {"prefill_replicas": 3, "decode_replicas": 1}),
        ("4 in one pool", {"replicas": 4}),
    ],
)
def test_the_table_of_four_gpus(label: str, split: dict[str, int]) -> None:
    found = metrics(split)
    met = found["slo"]["attained"]
    cells = [f"{met[name] * 100:.3g} %" for name in ("ttft", "tpot")]
    cells += [f"{found['ttft_ms']['p99']:.0f} ms", f"{found['itl_ms']['p99']:.1f} ms"]
    row = f"| {' | '.join([label, *cells])} |"
    assert row in GUIDE.read_text("utf-8"), row


def test_what_goes_over_the_link() -> None:
    prepared = prepare(RunSettings.model_validate(RUN))
    tokens = float(prepared.workload.input_tokens.mean())
    rate = 30 * tokens * kv_bytes(find_model(RUN["model"]), 1) / 1e9
    assert f"30 requests/s of {tokens:,.0f} tokens want {rate:.1f} GB/s" in TEXT


def test_the_distance_of_rates() -> None:
    assert f"Rates lie {STEP * 100:.1f} % apart" in TEXT
