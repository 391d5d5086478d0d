"""Failing machines: when they fail, how long the ring stands still, what is lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from servetwin.errors import InputError
from servetwin.sim.pipeline import Load, Ring, run_pipeline
from servetwin.studies.dejavu.failing import Recovery, compare, failure_times
from servetwin.studies.dejavu.failure_files import described
from servetwin.studies.dejavu.simulating import Asked

RING = Ring(4, 100e3, 20e3)
RUN = run_pipeline(RING, Load(np.full(10, 100), np.zeros(10)))


def test_times_of_failures() -> None:
    half = RUN.makespan_us / 2e6
    assert failure_times("50%", RUN) == (half,)
    assert failure_times("9, 2.5", RUN) == (2.5, 9.0)
    drawn = failure_times("mtbf=10s", RUN)
    assert len(drawn) > 3
    assert drawn == failure_times("mtbf=10s", RUN) == tuple(sorted(drawn))


@pytest.mark.parametrize("text", ["", "x", "-1", "mtbf=", "mtbf=3", "mtbf=0h", "inf", "1,,2"])
def test_bad_times(text: str) -> None:
    with pytest.raises(InputError, match="must be 50% of the run"):
        failure_times(text, RUN)


def test_machines_that_never_come_back() -> None:
    with pytest.raises(InputError, match="too often"):
        failure_times("mtbf=0.001s", RUN)


def test_the_stall_restores_kv_caches_only_from_a_replica() -> None:
    recovery = Recovery(3.0, 20.0, 32.0, 8.0, 2.0)
    assert recovery.stall_s(True) == 3 + 20 + 40 / 2
    assert recovery.stall_s(False) == 3 + 20 + 32 / 2
    for bad in ({"detect_s": -1.0}, {"load_gbs": 0.0}, {"kv_gb": float("nan")}):
        with pytest.raises(InputError):
            Recovery(**bad)


def test_one_failure_at_half_of_a_run(tmp_path: Path) -> None:
    asked = Asked("dejavu-failures", RING, "causal", 512, 0.0, None)
    compared = compare(asked, tmp_path / "lmsys_tokens.json", "50%", Recovery())
    calm, kept, lost = compared.rows()
    assert [row["completed"] for row in (calm, kept, lost)] == [512, 512, 512]
    # With replicas the four in flight lose a round each, and the round they were in.
    assert (kept["prompts_redone"], kept["rounds_redone"]) == (0, 4)
    assert lost["prompts_redone"] == 4
    assert lost["rounds_redone"] > 100
    assert kept["makespan_s"] - calm["makespan_s"] == pytest.approx(kept["stall_s"], abs=0.5)
    # Nobody who was complete before is touched, nobody is complete twice or earlier.
    at = compared.at_s[0]
    for name in ("replicated", "not replicated"):
        ends, before = compared.runs[name].completion_us, compared.runs["no failure"].completion_us
        early = before <= at * 1e6
        assert np.array_equal(ends[early], before[early])
        assert np.all(ends[~early] >= (at + compared.stalls[name]) * 1e6)


def test_the_stall_is_that_of_all_failures_that_fall_into_the_run(tmp_path: Path) -> None:
    asked = Asked("dejavu-failures", RING, "causal", 512, 0.0, None)
    trace = tmp_path / "lmsys_tokens.json"
    twice = compare(asked, trace, "30%,60%", Recovery())
    calm, kept, _ = twice.rows()
    assert (calm["failures"], kept["failures"]) == (0, 2)
    assert kept["stall_s"] == 2 * Recovery().stall_s(True)
    assert kept["makespan_s"] - calm["makespan_s"] == pytest.approx(kept["stall_s"], abs=1.0)
    assert "stand in for the unpublished trace" in str(twice.chart().to_dict()["title"])
    # While the ring stands still, a further failure changes nothing.
    soon = list(compare(asked, trace, "1000,1010", Recovery()).rows())
    assert soon[1]["stall_s"] == Recovery().stall_s(True)
    assert soon[1]["makespan_s"] - soon[0]["makespan_s"] == pytest.approx(
        soon[1]["stall_s"], abs=1.0
    )
    never = compare(asked, trace, "150%", Recovery())
    assert [row["stall_s"] for row in never.rows()] == [0.0, 0.0, 0.0]
    assert any("no failure falls" in note for note in described(never, Recovery())["notes"])
