"""Whole iterations of a model in PyTorch against what its profile predicts, on this machine.

Two measurements of a machine that other programs use: the bound is wide. The figures of
docs/background/fidelity.md come from `python -m benchmarks own_profiler --quick`.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed (pip install torch)")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.own_profiler import compare

from servetwin.catalog import find_model


@pytest.mark.slow
def test_iterations_of_a_small_model(tmp_path: Path) -> None:
    found = compare(find_model("gpt2"), tmp_path / "profile", quick=True)
    for item in found:
        print(item.step, f"{item.error:+.1%}")
    assert statistics.median(abs(item.error) for item in found) < 0.3
    assert max(abs(item.error) for item in found) < 0.6
