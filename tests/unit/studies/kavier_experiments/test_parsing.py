"""What the experiments accept, and the trace they run on."""

from __future__ import annotations

from pathlib import Path

import pytest

from servetwin.errors import InputError
from servetwin.studies.kavier_experiments.export_study import parse_model, parse_rates
from servetwin.studies.kavier_experiments.prefix_study import Grid
from servetwin.studies.kavier_experiments.traces import load_trace


def test_rates_are_sorted_and_once() -> None:
    assert parse_rates("0.1,1, 0.1") == [1.0, 0.1]
    with pytest.raises(InputError, match="--export_rate 'fast'"):
        parse_rates("fast")


def test_models_are_two() -> None:
    assert parse_model("servetwin") == "servetwin"
    with pytest.raises(InputError, match="did you mean kavier"):
        parse_model("kavir")


def test_a_million_tokens_is_the_run_without_cache() -> None:
    grid = Grid.parse("1024, 1000000,4096", "16,8,8")
    assert list(grid) == [(1024, 8), (1024, 16), (4096, 8), (4096, 16)]


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "", "8,", "nan", "9" * 30])
def test_a_grid_has_whole_numbers(text: str) -> None:
    with pytest.raises(InputError, match="whole numbers above 0"):
        Grid.parse("1024", text)


def test_only_the_whole_equivalent_trace_is_compared(tmp_path: Path) -> None:
    assert load_trace(None, quick=False).comparable
    quick = load_trace(None, quick=True)
    assert not quick.comparable
    assert len(quick.workload) == 2000
    named = load_trace(tmp_path / "marconi_full.parquet", quick=False)
    assert named.comparable
    assert "does not exist" in named.notes[0]
    (tmp_path / "own.csv").write_text("num_input_tokens,num_output_tokens\n100,10\n")
    own = load_trace(tmp_path / "own.csv", quick=False)
    assert not own.comparable
    assert "not compared" in own.notes[-1]
    # A file that is there is what it is, whatever its name.
    (tmp_path / "own.csv").rename(tmp_path / "marconi_all_traces.csv")
    assert not load_trace(tmp_path / "marconi_all_traces.csv", quick=False).comparable
