"""Interpolated kernel timings against timings that were set aside.

The table of docs/background/fidelity.md is recomputed here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from servetwin.cost.profiles.scores import KernelScore, kernel_scores

PAGE = Path(__file__).resolve().parents[2] / "docs" / "background" / "fidelity.md"

UNMET = {("gemm, between rows", "A100-80GB, aiconfigurator"): 0.045,
         ("gemm, unseen model", "H100-SXM, Vidur"): 0.075}  # fmt: skip
"""Groups that miss their goal, with what they must not exceed; the page says why."""


def goal(score: KernelScore) -> float:
    goals = {"gemm, between rows": 0.03, "gemm, unseen matrix": 0.07, "gemm, unseen model": 0.07}
    return UNMET.get((score.kind, score.group), goals.get(score.kind, 0.03))


def test_timings_that_were_set_aside(data_dir: Path) -> None:
    page = PAGE.read_text()
    scores = kernel_scores(data_dir / "profiles")
    for score in scores:
        figures = f"{score.errors.size:,} | {score.median:.1%} | {score.p90:.1%}"
        row = f"| {score.kind} | {score.group} | {figures.replace('%', ' %')} |"
        print(row)
        assert row in page, f"not in {PAGE.name}: {row}"
        assert score.errors.size >= 100
        assert score.median <= goal(score), (score.kind, score.group)
    for kind in {score.kind for score in scores}:
        alike = [score.errors for score in scores if score.kind == kind]
        assert np.median(np.abs(np.concatenate(alike))) <= 0.07
