"""`servetwin study pools` as a user meets it."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

Done = subprocess.CompletedProcess[str]

SMALL = ("--model", "meta-llama/Llama-3.1-8B", "--gpu", "A100-80GB", "--engines", "3")
REQUESTS = ("--workload", "azure-conv", "--requests", "300")
LIMITS = ("--slo", "ttft=1s,tpot=50ms,p=0.9")


def pools(folder: Path, *args: str) -> Done:
    command = [sys.executable, "-m", "servetwin", "study", "pools", *args]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def best_ones(content: dict[str, Any]) -> tuple[str, str]:
    return content["best_split"], content["best_aggregated"]


def test_files_hold_what_is_printed(tmp_path: Path) -> None:
    args = (*SMALL, *REQUESTS, *LIMITS, "--out", "out")
    done = pools(tmp_path, *args)
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == {
        "pools.csv",
        "pools.json",
        "pools.png",
        "pools.html",
    }
    content = json.loads((out / "pools.json").read_text())
    assert content["schema"] == "servetwin.pools/1"
    own = [row["layout"] for row in content["layouts"] if "(" not in row["layout"]]
    assert own == ["3 aggregated", "1 prefill + 2 decode", "2 prefill + 1 decode"]
    for kind in ("aggregated", "pools"):
        tried = {row["max_num_batched_tokens"] for row in content["layouts"] if row["kind"] == kind}
        assert tried >= {128, 256, 512, 1024, 2048, 4096, 8192, 16384}
    with (out / "pools.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row, stated in zip(rows, content["layouts"], strict=True):
        assert float(row["goodput_rps"]) == stated["goodput_rps"]
        assert stated["met"] >= 0.9 > stated["failing_met_all"]
        assert stated["usd_per_hour"] == pytest.approx(3 * 1.95)
        line = rf"^{re.escape(stated['layout'])} +[\d.]+ "
        assert bool(re.search(line, done.stdout, re.MULTILINE)) == stated["shown"]
    fastest = max(row["rate_rps"] for row in content["layouts"])
    best = max(
        (row for row in content["layouts"] if row["layout"] in best_ones(content)),
        key=lambda row: row["goodput_rps"],
    )
    assert best["rate_rps"] == fastest
    assert f"Best: {best['layout']}, " in " ".join(done.stdout.split())
    assert (out / "pools.png").read_bytes().startswith(b"\x89PNG")
    page = (out / "pools.html").read_text()
    assert "2 prefill + 1 decode" in page
    again = pools(tmp_path, *args[:-2], "--json")
    assert json.loads(again.stdout)["layouts"] == content["layouts"]


def test_budgets_can_be_chosen(tmp_path: Path) -> None:
    chosen = ("--aggregated-tokens", "256,1024", "--prefill-tokens", "4096")
    args = (*SMALL, *REQUESTS, "--rates", "1,2", *chosen, "--json")
    content = json.loads(pools(tmp_path, *args).stdout)
    assert [row["layout"] for row in content["layouts"]] == [
        "3 aggregated (256)",
        "3 aggregated (1024)",
        "1 prefill + 2 decode (4096)",
        "2 prefill + 1 decode (4096)",
    ]
    assert {row["rate_rps"] for row in content["layouts"]} <= {None, 1.0, 2.0}


def test_a_trace_with_prefixes(tmp_path: Path) -> None:
    lines = [
        {
            "timestamp": 100 * at,
            "input_length": 2048,
            "output_length": 20,
            "hash_ids": [at % 3, 10 + at % 5, 100 + at, 1000 + at],
        }
        for at in range(200)
    ]
    (tmp_path / "trace.jsonl").write_text("\n".join(map(json.dumps, lines)))
    tokens = ("--max-num-batched-tokens", "1024")  # and no other
    args = ("--trace", "trace.jsonl", "--router", "cache-aware", *tokens, *LIMITS, "--json")
    done = pools(tmp_path, *SMALL, *args)
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)
    assert content["workload"]["requests"] == 200
    assert len(content["layouts"]) == 3
    assert all(row["goodput_rps"] > 0 for row in content["layouts"])


MISTAKES = {
    "one engine": (["--engines", "1"], "--engines 1: must lie between 2 and 256"),
    "rates": (["--rates", "0,1"], "--rates '0,1': must be numbers above 0 between commas"),
    "tokens": (["--aggregated-tokens", "x"], "must be whole numbers above 0 between commas"),
    "slo": (["--slo", "ttft=1s,foo=2"], "SLO 'foo' is unknown"),
    "nothing limits": (["--slo", "ttft=9000s"], "nothing limits it; give tighter ones with --slo"),
    "closed": (["--arrivals", "closed:concurrency=4"], "sets its own rate; give an open process"),
    "no price": (["--decode-gpu", "H20"], "H20: the catalog has no price"),
    "too small": (["--decode-gpu", "V100-SXM2-16GB"], "decode pool: "),
    "link": (["--kv-link", "foo"], "unknown link 'foo'"),
    "output": (["--out", "plain"], "--out plain: is a file; name a folder"),
    "failures": (["--config", "plain"], "failures are not part of this study: leave mtbf out"),
    "trace": (["--trace", "none.csv"], "none.csv: no such file"),
}


@pytest.mark.parametrize("name", list(MISTAKES))
def test_a_mistake_takes_one_line_and_writes_nothing(name: str, tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("mtbf: 1h\n")
    args, message = MISTAKES[name]
    workload = () if "--trace" in args else REQUESTS
    done = pools(tmp_path, *SMALL, *workload, "--out", "out", *args)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("servetwin: error: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"plain"}
