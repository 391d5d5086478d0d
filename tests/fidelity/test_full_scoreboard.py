"""The whole scoreboard is the table of docs/background/fidelity.md; its fit, the packaged one."""

from __future__ import annotations

from pathlib import Path

import pytest

from servetwin.calibrate.serving import Run, fit_serving
from servetwin.cost.curves import read_serving
from servetwin.studies.fidelity.board import build
from servetwin.studies.fidelity.printing import markdown
from servetwin.studies.fidelity.sets import read_set

PAGE = Path(__file__).resolve().parents[2] / "docs" / "background" / "fidelity.md"


@pytest.mark.slow
def test_board_is_as_documented(data_dir: Path) -> None:
    found = markdown(build(data_dir).scores)
    print(found)
    documented = PAGE.read_text("utf-8").split("<!-- board -->")[1].split("<!-- end -->")[0]
    assert documented.strip() == found


def test_packaged_numbers_are_the_fit(data_dir: Path) -> None:
    """Fitted again without the longest of its models, which takes a third of the time."""
    points = read_set("inferencex", data_dir / "measured").points
    chosen = [point for point in points if "ttft" in point.fitted][::2]
    left_out = "meta-llama/Llama-3.1-70B"
    runs = [
        Run(
            p.deployment,
            p.workload,
            float(p.measured["ttft"][0]),
            float(p.measured["tpot"][0]),
            p.host,
            p.polled,
        )
        for p in chosen
        if p.tags["model"] != left_out and p.host != "TRT-LLM"
    ]
    packaged, found = read_serving()["without"][left_out], fit_serving(runs)
    assert found["compute"]["Blackwell"]["share"] == pytest.approx(
        packaged["compute"]["Blackwell"]["share"], abs=2e-3
    )
    for part in ("operation_us", "frontend"):
        for name, us in found[part].items():
            assert us == pytest.approx(packaged[part][name], rel=0.01), name
