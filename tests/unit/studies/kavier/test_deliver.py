"""What a sweep says of its output folder."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from servetwin.cli import main

HEAD = "session_id,ts,num_input_tokens,num_output_tokens\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "trace.csv").write_text(HEAD + "0,0,10,3\n")
    return tmp_path


def sweep(folder: Path, rates: str) -> list[str]:
    """Run into `out`; return the notes about runs that are not of this sweep."""
    words = ["--llm", "Llama-3-8B", "--gpu", "A10", "--trace", str(folder / "trace.csv")]
    words += ["--export_rate", rates, "--output_folder", str(folder / "out")]
    with pytest.raises(SystemExit) as ended:
        main(["study", "kavier", *words])
    assert ended.value.code == 0
    notes = json.loads((folder / "out" / "summary.json").read_text())["notes"]
    return [note for note in notes if note.startswith("kept from")]


def runs(folder: Path) -> set[str]:
    return {str(path.parent.relative_to(folder)) for path in folder.rglob("tasks.parquet")}


def test_the_same_sweep_again_leaves_nothing_over(folder: Path) -> None:
    assert sweep(folder, "[0.1, 1]") == sweep(folder, "[0.1, 1]") == []


def test_runs_of_a_longer_sweep_stay_and_are_named(folder: Path) -> None:
    sweep(folder, "[0.1, 0.5, 1]")
    (note,) = sweep(folder, "[0.1, 1]")
    left = folder / "out" / "export_rate=0.5"
    assert note == f"kept from former commands, not in summary.json: {left}"
    assert (left / "tasks.parquet").exists()


def test_a_sweep_after_a_single_run_and_a_single_run_after_a_sweep(folder: Path) -> None:
    assert sweep(folder, "1") == []
    (note,) = sweep(folder, "[0.1, 0.2, 0.5, 1]")
    assert note.endswith(f": {folder / 'out'}")
    (note,) = sweep(folder, "1")
    assert note.endswith("export_rate=0.5 and 1 more")
    assert len(runs(folder / "out")) == 5


def test_other_files_and_folders_are_nobodys_business(folder: Path) -> None:
    (folder / "out" / "notes").mkdir(parents=True)
    (folder / "out" / "mine.txt").write_text("mine")
    assert sweep(folder, "[0.1, 1]") == []


def test_what_an_interrupted_run_left_counts(folder: Path) -> None:
    (folder / "out" / "export_rate=2").mkdir(parents=True)
    (folder / "out" / "export_rate=2" / "fragments.partial.parquet").write_text("")
    (note,) = sweep(folder, "[0.1, 1]")
    assert note.endswith("export_rate=2")


def test_a_run_without_prefix_cache_is_called_so(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "--llm",
        "Llama-3-8B",
        "--gpu",
        "A10",
        "--prefix_cache_policy",
        "prefill",
        "--pue",
        "1.5",
    ]
    words += ["--prefix_cache_min_tokens", "[4, 1000000]", "--max_cached_prompts", "[8, 16]"]
    trace = folder / "tokens.csv"
    trace.write_text('num_input_tokens,num_output_tokens,input_tokens\n4,3,"[1, 2, 3, 4]"\n')
    with pytest.raises(SystemExit):
        main(["study", "kavier", *words, "--trace", str(trace)])
    shown = capsys.readouterr().out
    rows = [line.split()[:2] for line in shown.splitlines()[2:5]]
    assert rows == [["4", "8"], ["4", "16"], ["none", "-"]]
    assert "note: energy and carbon include a PUE of 1.5" in shown


def test_a_small_trace_is_not_told_in_zeros(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--llm", "Llama-3-8B", "--gpu", "A10", "--trace", str(folder / "trace.csv")]
    with pytest.raises(SystemExit):
        main(["study", "kavier", *words, "--price", "1"])
    figures = dict(re.findall(r"^(\S.*?)  +(\S+) (?:kWh|\$|s)$", capsys.readouterr().out, re.M))
    assert 0 < float(figures["energy"]) < 0.001
    assert 0 < float(figures["cost"]) < 0.001
    assert 0 < float(figures["decode"]) < 1


def test_a_wide_sweep_breaks_no_word_and_keeps_to_80_columns(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--llm", "Llama-3-8B", "--gpu", "[A10,A100]", "--trace", str(folder / "trace.csv")]
    words += ["--cache_scope", "[session,global]", "--max_cached_prompts", "[8,16]"]
    words += ["--prefix_cache_min_tokens", "[1024,2048]", "--prefix_cache_policy", "prefill"]
    with pytest.raises(SystemExit):
        main(["study", "kavier", *words, "--kv_cache", "[on, off]"])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[1].split() == ["run", "gpu", "KV", "prefix", "prompts", "scope"]
    assert lines[2].split() == ["1", "A10", "on", "1024", "8", "session"]
    assert lines[33].split() == ["32", "A100", "off", "2048", "16", "global"]
    assert lines[35].startswith("run  prefill h  decode h  hits %  fragments")
    assert lines[36].split()[0] == "1"
