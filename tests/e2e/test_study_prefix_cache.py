"""`servetwin study prefix-cache` as a user meets it."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

Done = subprocess.CompletedProcess[str]

REQUESTS = [[0, 1, 2], [0, 1, 3], [4], [0, 1, 2]]
"""Seven references after the first request, of which an unbounded cache knows five."""


def study(folder: Path, *args: str) -> Done:
    command = [sys.executable, "-m", "servetwin", "study", *args]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def prefix_cache(folder: Path, *args: str) -> Done:
    return study(folder, "prefix-cache", "--trace", "trace.jsonl", *args)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    lines = [
        {"timestamp": at, "input_length": 512 * len(ids), "output_length": 1, "hash_ids": ids}
        for at, ids in enumerate(REQUESTS)
    ]
    (tmp_path / "trace.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return tmp_path


def test_json_names_policy_capacity_and_hits(folder: Path) -> None:
    done = prefix_cache(
        folder, "--capacity-blocks", "3,unbounded", "--policy", "trace-lru", "--json"
    )
    assert done.returncode == 0, done.stderr
    # With room for three, the first request's blocks give way to 3 and 4, and then 0 is gone.
    assert json.loads(done.stdout) == [
        {
            "policy": "trace-lru",
            "capacity_blocks": 3,
            "references": 10,
            "hits": 2,
            "hit_rate": 0.2,
        },
        {
            "policy": "trace-lru",
            "capacity_blocks": "unbounded",
            "references": 10,
            "hits": 5,
            "hit_rate": 0.5,
        },
    ]


def test_the_published_counts_come_out(data_dir: Path, tmp_path: Path) -> None:
    published = json.loads((data_dir / "reference" / "mooncake_lru_hits.json").read_text())
    expected = published["hits_by_capacity_blocks"]
    args = ("--trace", str(data_dir / published["trace"]), "--policy", "trace-lru,belady")
    done = study(tmp_path, "prefix-cache", *args, "--capacity-blocks", ",".join(expected), "--json")
    rows = json.loads(done.stdout)
    found = {row["policy"]: {} for row in rows}
    for row in rows:
        found[row["policy"]][str(row["capacity_blocks"])] = row["hits"]
        assert row["references"] == published["block_references"]
        assert row["hit_rate"] == row["hits"] / row["references"]
    assert found["trace-lru"] == expected
    assert all(found["belady"][capacity] >= hits for capacity, hits in expected.items())
    assert found["belady"]["unbounded"] == expected["unbounded"]


def test_the_table_fits_80_columns(folder: Path) -> None:
    done = prefix_cache(folder, "--policy", "all")
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    for word in ("trace-lru", "belady", "10,000", "unbounded", "50.00%", "5 different blocks"):
        assert word in done.stdout, word


def test_files_hold_what_is_printed(folder: Path) -> None:
    args = ("--policy", "vllm-lru,belady", "--capacity-blocks", "2,4,unbounded")
    printed = json.loads(prefix_cache(folder, *args, "--json", "--out", "out").stdout)
    out = folder / "out"
    kinds = ("csv", "json", "png", "html")
    assert {path.name for path in out.iterdir()} == {f"prefix_cache.{kind}" for kind in kinds}
    content = json.loads((out / "prefix_cache.json").read_text())
    assert content["schema"] == "servetwin.prefix_cache/1"
    assert [{key: row[key] for key in printed[0]} for row in content["results"]] == printed
    with (out / "prefix_cache.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["hits"]) for row in rows] == [row["hits"] for row in printed]
    assert (out / "prefix_cache.png").read_bytes().startswith(b"\x89PNG")
    assert "vllm-lru" in (out / "prefix_cache.html").read_text()


def test_blocks_of_an_engine(folder: Path) -> None:
    done = prefix_cache(folder, "--block-tokens", "16", "--capacity-blocks", "unbounded", "--json")
    (row,) = json.loads(done.stdout)
    assert (row["references"], row["hits"]) == (10 * 32, 5 * 32)


MISTAKES = {
    "policy": (["--policy", "beladi"], "unknown policy 'beladi': did you mean belady?"),
    "no capacity": (["--capacity-blocks", "0"], "'0': must be a whole number of blocks"),
    "negative": (["--capacity-blocks", "-5"], "'-5': must be a whole number of blocks"),
    "fraction": (["--capacity-blocks", "10,1.5"], "'1.5': must be a whole number of blocks"),
    "word": (["--capacity-blocks", "infinite"], "at least 1, or unbounded"),
    "absurd": (["--capacity-blocks", "9" * 5000], "must be a whole number of blocks"),
    "block size": (["--block-tokens", "100"], "must divide the trace's block of 512 tokens"),
    "format": (["--format", "mooncak"], "did you mean mooncake?"),
    "trace": (["--trace", "none.jsonl"], "none.jsonl: no such file"),
    "plain trace": (["--trace", "plain.csv"], "names no prefix blocks"),
    "which formats": (["--trace", "plain.csv"], "formats that name them are mooncake, agentic"),
    "output": (["--out", "plain.csv"], "--out plain.csv: is a file; name a folder"),
}


@pytest.mark.parametrize("name", list(MISTAKES))
def test_a_mistake_takes_one_line_and_writes_nothing(name: str, folder: Path) -> None:
    (folder / "plain.csv").write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n"
    )
    args, message = MISTAKES[name]
    before = sorted(folder.rglob("*"))
    done = prefix_cache(folder, "--out", "out", *args)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("servetwin: error: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert sorted(folder.rglob("*")) == before


def test_studies_are_listed_and_found(tmp_path: Path) -> None:
    done = study(tmp_path, "--help")
    assert done.returncode == 0
    assert "  prefix-cache " in done.stdout
    assert study(tmp_path).stdout == done.stdout
    wrong = study(tmp_path, "prefix-cach")
    assert wrong.returncode == 2
    assert "Did you mean 'prefix-cache'?" in wrong.stderr
