"""Every experiment from its one command, on a slice."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

TABLES = {
    "kavier-1.1": {"points": 9, "scores": 2},
    "kavier-1.2": {"points": 18, "scores": 2},
    "kavier-1.3": {"rates": 4},
    "kavier-2": {"hours": 16, "energy": 16},
    "kavier-3": {"performance": 19, "energy-kavier": 19, "energy-servetwin": 19},
}
"""Tables and their rows."""
FIGURES = {
    "kavier-1.1": ["accuracy"],
    "kavier-1.2": ["accuracy"],
    "kavier-1.3": ["cost"],
    "kavier-2": ["hours", "energy", "power"],
    "kavier-3": ["caches"],
}
AGAINST_PUBLISHED = ("kavier-1.1", "kavier-1.2")
"""The lengths they compare are all there, quick or not."""


def study(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "servetwin", "study", *args]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.mark.parametrize("name", list(TABLES))
def test_a_quick_look_writes_everything(name: str, tmp_path: Path) -> None:
    done = study(tmp_path, name, "--quick", "--out", "out")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert max(map(len, lines[:-1])) <= 80
    compared = name in AGAINST_PUBLISHED
    assert ("PASS: " in done.stdout) == compared
    assert ("Not compared" in done.stdout) != compared
    out = tmp_path / "out"
    content = json.loads((out / f"{name}.json").read_text())
    assert content["published"]["passed"] is (True if compared else None)
    for table, rows in TABLES[name].items():
        assert len(content["tables"][table]) == rows
        with (out / f"{name}-{table}.csv").open() as file:
            assert len(list(csv.DictReader(file))) == rows
    for figure in FIGURES[name]:
        assert (out / f"{name}-{figure}.png").stat().st_size > 10_000
        page = (out / f"{name}-{figure}.html").read_text()
        assert "<script src=" not in page
    extra = ["published"] if compared else []
    expected = {f"{name}.json"}
    expected |= {f"{name}-{table}.csv" for table in (*TABLES[name], *extra)}
    expected |= {f"{name}-{fig}.{kind}" for fig in FIGURES[name] for kind in ("png", "html")}
    assert {path.name for path in out.iterdir()} == expected


def test_json_stands_alone_and_carbon_is_counted(tmp_path: Path) -> None:
    args = ("--quick", "--json", "--carbon", "400", "--price", "2", "--pue", "1.1")
    content = json.loads(study(tmp_path, "kavier-2", *args).stdout)
    for row in content["tables"]["energy"]:
        assert row["carbon_kg"] == pytest.approx(0.4 * row["kwh"])
        assert row["usd"] == pytest.approx(2 * row["gpu_hours"])
        assert row["kwh_low"] < row["kwh"] < row["kwh_high"]
    assert not list(tmp_path.iterdir())


def test_a_trace_of_ones_own(tmp_path: Path) -> None:
    """Four prompts of one session share 1,024 tokens, so three of them hit."""
    lines = [
        {"timestamp": at, "input_length": 1536, "output_length": 5, "hash_ids": [0, 1, 2 + at]}
        for at in range(4)
    ]
    (tmp_path / "own.jsonl").write_text("\n".join(map(json.dumps, lines)))
    args = ("--prefix_cache_min_tokens", "1024,1000000", "--max_cached_prompts", "2", "--json")
    done = study(tmp_path, "kavier-3", "--trace", "own.jsonl", *args)
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)
    none, cached = content["tables"]["performance"]
    assert (none["hit_percent"], cached["hit_percent"]) == (0, 75)
    # On a hit, kavier's prefill is free and servetwin's is that of the last 512 tokens.
    assert cached["kavier_h"] == pytest.approx(none["kavier_h"] / 4, rel=0.01)
    assert none["servetwin_h"] / 4 < cached["servetwin_h"] < none["servetwin_h"] * 0.6
    assert content["published"]["passed"] is None


MISTAKES = {
    "trace": (["kavier-2", "--trace", "none.csv"], "none.csv': no such file"),
    "rate": (["kavier-1.3", "--export_rate", "0"], "seconds between 0.001 and 86400"),
    "finer": (["kavier-1.3", "--export_rate", "0.0001"], "not a whole number of milliseconds"),
    "cache": (["kavier-3", "--max_cached_prompts", "-8"], "whole numbers above 0"),
    "prefix": (["kavier-3", "--prefix_cache_min_tokens", "1k"], "whole numbers above 0"),
    "carbon": (["kavier-3", "--carbon", "much"], "neither a number nor a CSV file"),
    "pue": (["kavier-2", "--pue", "0.9"], "pue 0.9: must be at least 1"),
    "out": (["kavier-1.1", "--out", "file"], "--out file: is a file; name a folder"),
}


@pytest.mark.parametrize("name", list(MISTAKES))
def test_a_mistake_takes_one_line_and_writes_nothing(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    args, message = MISTAKES[name]
    out = [] if "--out" in args else ["--out", "out"]
    done = study(tmp_path, *args, *out)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("servetwin: error: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
