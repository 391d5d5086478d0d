"""What the first run and the guide on priorities show is what their own commands print."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
FIRST_RUN = (DOCS / "tutorial" / "first-run.md").read_text("utf-8")
PRIORITIES = (DOCS / "guides" / "priorities.md").read_text("utf-8")
PROGRAM = str(Path(sys.executable).parent / "servetwin")

SHOWN = re.compile(
    r"^```bash\n(?P<code>[^`]+)^```\n(?:(?!```).*\n)+^```text\n(?P<text>[^`]+)^```$", re.M
)
"""A command, and what it prints, with nothing but prose between them."""


def flat(text: str) -> str:
    return " ".join(text.split())


def arguments(code: str) -> tuple[str, ...]:
    """Those of one `servetwin simulate`, without a folder to write to."""
    return tuple(shlex.split(re.sub(r"--out \S+", "", code.replace("\\\n", ""))))[1:]


@cache
def printed(*asked: str) -> str:
    done = subprocess.run([PROGRAM, *asked], capture_output=True, text=True, check=True)
    return done.stdout


def metrics(*asked: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(printed(*asked, "--no-intervals", "--json"))["metrics"]
    return found


def examples(page: str) -> list[tuple[tuple[str, ...], str]]:
    return [(arguments(item["code"]), item["text"]) for item in SHOWN.finditer(page)]


@pytest.mark.parametrize(
    ("page", "number"),
    [(FIRST_RUN, 0), (PRIORITIES, 0), (PRIORITIES, 1)],
    ids=["first run", "priorities", "adapters"],
)
def test_what_a_command_prints(page: str, number: int) -> None:
    asked, text = examples(page)[number]
    lines = {line.rstrip() for line in printed(*asked).splitlines()}
    shown = [line.rstrip() for line in text.splitlines() if line.strip() not in ("", "…")]
    assert [line for line in shown if line not in lines] == []


def test_the_slo_of_the_first_run() -> None:
    asked, _ = examples(FIRST_RUN)[0]
    slo = metrics(*asked)["slo"]
    share = f"{slo['attained']['all'] * 100:.2f} %"
    assert f"here {share}, where {slo['share'] * 100:.0f} % are wanted" in flat(FIRST_RUN)


def test_how_long_all_wait_without_priorities() -> None:
    asked, _ = examples(PRIORITIES)[0]
    assert asked[-2:] == ("--scheduling-policy", "priority")
    first, second = metrics(*asked[:-1], "fcfs")["priorities"]
    waits = [f"{entry['ttft_ms']['mean'] / 1e3:.0f} s" for entry in (first, second)]
    told = f"the mean TTFT is {waits[0]} for priority 0 and {waits[1]} for priority 1"
    assert told in flat(PRIORITIES), told


def test_what_waiting_for_a_place_for_an_adapter_takes() -> None:
    asked, _ = examples(PRIORITIES)[1]
    assert asked[-4:] == ("--adapters", "32:zipf=1.1", "--max-loras", "8")
    runs = [(*asked[:-1], "16"), (*asked[:-1], "32"), asked[:-4]]
    some, all_, none = (f"{metrics(*each)['ttft_ms']['mean']:.0f} ms" for each in runs)
    told = (
        f"With `--max-loras 16` the mean TTFT is {some}, with 32, so that nobody waits for a "
        f"place, {all_}, and without adapters {none}"
    )
    assert told in flat(PRIORITIES), told
    blocks = metrics(*asked)["kv_cache"]
    used = blocks["peak_blocks"] / blocks["capacity_blocks"]
    assert f"{used * 100:.0f} % of them are in use at most" in flat(PRIORITIES)


@pytest.mark.parametrize(
    "other",
    [
        ("--prefill-replicas", "1", "--decode-replicas", "1"),
        ("--trace", "alike.jsonl", "--kv-tier", "host=64GB@25GB/s,latency=10us"),
        ("--replicas", "2", "--fail-at", "10s:0"),
    ],
    ids=["pools", "tiers", "failures"],
)
def test_adapters_go_with_neither_pools_nor_tiers_nor_failures(
    other: tuple[str, ...], tmp_path: Path
) -> None:
    assert "such a run is refused" in flat(PRIORITIES)
    asked = ("simulate", "--model", "meta-llama/Llama-3.1-8B", "--gpu", "A100-80GB")
    drawn = ("--adapters", "32:zipf=1.1", "--max-loras", "8")
    if "--trace" in other:
        lengths = {"timestamp": 0, "input_length": 600, "output_length": 2, "hash_ids": [1, 2]}
        (tmp_path / "alike.jsonl").write_text(f"{json.dumps(lengths)}\n", "utf-8")
    else:
        other = (*other, "--workload", "azure-conv", "--requests", "10")
    done = subprocess.run(
        [PROGRAM, *asked, *drawn, *other], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode != 0
    assert "LoRA adapters are not simulated yet with" in done.stderr
