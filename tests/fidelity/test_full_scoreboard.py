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


def test_packaged_share_is_the_fit(data_dir: Path) -> None:
    """Fitted again without the longer of its models, which takes a third of the time."""
    points = read_set("inferencex", data_dir / "measured").points
    chosen = [point for point in points if "tpot" in point.fitted][::2]
    left_out = "meta-llama/Llama-3.1-70B"
    runs = [
        Run(p.deployment, p.workload, float(p.measured["ttft"][0]), float(p.measured["tpot"][0]))
        for p in chosen
        if p.tags["model"] != left_out
    ]
    packaged = read_serving()["without"][left_out]["compute"]["Blackwell"]["share"]
    assert fit_serving(runs)["Blackwell"]["share"] == pytest.approx(packaged, abs=2e-3)
