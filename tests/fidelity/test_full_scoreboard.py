"""The whole scoreboard is the table of docs/background/fidelity.md; its fit, the packaged one."""

from __future__ import annotations

from pathlib import Path

import pytest

from servetwin.calibrate.serving import fit_serving
from servetwin.cost.curves import VLLM, read_serving
from servetwin.studies.fidelity.board import build
from servetwin.studies.fidelity.fitting import fitted_points, runs_of
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
    """Fitted again: all of vLLM's; the other engines without the longest model of vLLM's."""
    chosen = fitted_points(read_set("inferencex", data_dir / "measured").points)
    llama = "meta-llama/Llama-3.1-70B"
    own = [point for point in chosen if point.host == VLLM]
    rest = [p for p in chosen if p.tags["model"] != llama and p.host != "TRT-LLM"]
    for points, packaged in ((own, read_serving()), (rest, read_serving()["without"][llama])):
        found = fit_serving(runs_of(points))
        share = packaged["compute"]["Blackwell"]["share"]
        assert found["compute"]["Blackwell"]["share"] == pytest.approx(share, abs=2e-3)
        for part in ("operation_us", "frontend"):
            for name, us in found[part].items():
                assert us == pytest.approx(packaged[part][name], rel=0.01), name
