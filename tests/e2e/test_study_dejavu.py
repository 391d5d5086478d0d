"""DéjàVu's studies through the command line: files, lines, traces, and bad input."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from servetwin.results import read_run

TRACE = [[50, 14], [74, 8], [266, 18], [224, 0], [27, 15], [65, 6], [892, 10], [126, 9]]


def servetwin(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "servetwin", "study", *words]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "trace.json").write_text(json.dumps(TRACE))
    return tmp_path


BASELINE = ("dejavu-baseline", "--num_machines", "2", "--prompt_time", "10", "--token_time", "2")
SPLIT = (
    "dejavu-disaggregated",
    *("--num_prompt_machines", "1", "--num_token_machines", "2"),
    *("--prompt_time", "10", "--token_time", "2", "--cache_time", "1.5"),
)


@pytest.mark.parametrize("words", [BASELINE, SPLIT])
@pytest.mark.parametrize("semantics", ["causal", "original"])
def test_a_run_and_its_files(folder: Path, words: tuple[str, ...], semantics: str) -> None:
    done = servetwin(
        *words,
        *("--trace_file", "trace.json", "--rps", "20", "--semantics", semantics),
        *("--out", "run", "--do_traces"),
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split()[-2:] == ["8", "10.25"]
    assert lines[1].startswith("LAT/TOKEN: median: ")
    assert any(line.startswith("Total time is ") and "ubatces/sec" in line for line in lines)
    assert any("Early stops is " in line for line in lines) == (words is BASELINE)
    assert all(len(line) <= 80 for line in lines if not line.startswith(("LAT", "Total", "Wri")))
    run = read_run(folder / "run")
    table = pq.read_table(folder / "run" / "requests.parquet")
    completions = table["completion_us"].to_numpy()
    assert run.requests.completion_us is not None
    assert run.requests.completion_us.tolist() == completions.tolist()
    assert completions.max() / 1e6 == float(next(x for x in lines if "Total" in x).split()[3])
    stages = (folder / "run" / "stages.csv").read_text().splitlines()
    assert stages[0] == "stage,serves,busy_s,utilisation,bubbles"
    assert len(stages) == 1 + (2 if words is BASELINE else 3)


def slices(events: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [event for event in events if event["ph"] == kind]


@pytest.mark.parametrize("semantics", ["causal", "original"])
def test_a_trace_draws_every_visit_and_every_transfer(folder: Path, semantics: str) -> None:
    done = servetwin(
        *SPLIT,
        *("--trace_file", "trace.json", "--semantics", semantics, "--do_traces"),
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    events = json.loads((folder / "dv_trace.json").read_text())
    names = [event["args"]["name"] for event in slices(events, "M")]
    assert names == [
        "Prompt Pipeline, Stage 0",
        "Token Pipeline, Stage 0",
        "Token Pipeline, Stage 1",
        "KV transfers",
    ]
    rounds = sum(max(generated, 2) for _, generated in TRACE)
    assert len(slices(events, "X")) == len(TRACE) + 2 * rounds
    begins, ends = slices(events, "b"), slices(events, "e")
    assert len(begins) == len(ends) == len(TRACE)
    for begin, end in zip(begins, ends, strict=True):
        assert end["ts"] - begin["ts"] == pytest.approx(1500)
    first = next(event for event in events if event["ph"] == "X")
    assert list(first) == ["pid", "ts", "dur", "ph", "name", "cname"]
    assert first["name"] == "p0"
    for pid in range(3):
        visits = sorted(
            (event["ts"], event["ts"] + event["dur"])
            for event in slices(events, "X")
            if event["pid"] == pid
        )
        assert all(a[1] <= b[0] + 1e-6 for a, b in pairwise(visits))


def test_more_stages_than_requests_and_than_colours(folder: Path) -> None:
    done = servetwin(
        *("dejavu-baseline", "--num_machines", "20", "--trace_file", "trace.json", "--do_traces"),
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    events = json.loads((folder / "baseline_trace.json").read_text())
    assert {event["pid"] for event in events} == set(range(20))


def test_arrivals_from_a_file_and_a_shared_link(folder: Path) -> None:
    (folder / "arrivals.txt").write_text("\n".join(str(1000 * at) for at in range(8)))
    done = servetwin(
        *SPLIT,
        *("--trace_file", "trace.json", "--arrivals", "arrivals.txt", "--json"),
        *("--link_gbs", "1", "--kv_bytes_per_token", "100000", "--prompt_slots", "2"),
        *("--prompt_tokens", "100"),
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)
    assert content["config"]["link_gbs"] == 1.0
    assert content["config"]["arrivals"] == "arrivals.txt"
    assert content["metrics"]["completed"] == 8
    assert len(content["stages"]) == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--num_machines", "0"), "--num_machines 0: must lie between 1 and 4,096"),
        (("--prompt_time", "-1"), "--prompt_time -1: must be a time in ms, 0 or more"),
        (("--token_time", "0"), "--token_time 0: must be above 0 ms"),
        (("--rps", "-3"), "--rps -3: must be a rate of 0 or more"),
        (("--semantics", "odd"), "--semantics odd: must be one of causal, original"),
        (("--trace_file", "none.json"), "--trace_file 'none.json': no such file"),
        (("--trace_file", "empty.json"), "empty.json"),
        (("--arrivals", "none.txt"), "--arrivals 'none.txt': no such file"),
        (("--out", "trace.json"), "--out trace.json: is a file; name a folder"),
        (("--prompt_tokens", "5", "--semantics", "original"), "original semantics know no"),
        (("--do_traces", "--out", "."), "'trace.json' would be replaced: name another folder"),
    ],
)
def test_a_mistake_is_one_line(folder: Path, words: tuple[str, ...], message: str) -> None:
    (folder / "empty.json").write_text("[]")
    before = sorted(folder.iterdir())
    done = servetwin("dejavu-baseline", "--trace_file", "trace.json", *words, cwd=folder)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""
    assert sorted(folder.iterdir()) == before


def test_plan_plot_and_figure(folder: Path) -> None:
    plan = servetwin(
        *("dejavu-plan", "--model", "OPT-30B", "--mem_per_machine", "64", "--machine_cost", "8"),
        *("--trace_file", "trace.json", "--config_file", "model_info.json"),
        *("--output_csv", "opt30.csv"),
        cwd=folder,
    )
    assert plan.returncode == 0, plan.stderr
    assert "'model_info.json' does not exist; instead: times of our cost" in plan.stdout
    assert (folder / "opt30.json").exists()
    for extra in ((), ("--plot_cost", "--machine_cost", "8")):
        plot = servetwin(
            *("dejavu-plot", "--model", "OPT-30B", "--suffix", "4v100", "--input", "opt30.csv"),
            *extra,
            cwd=folder,
        )
        assert plot.returncode == 0, plot.stderr
        assert plot.stdout.startswith("SPEEDUP-DP: ")
    for name in ("OPT-30B_4v100.png", "OPT-30B_4v100_cost.html"):
        assert (folder / name).stat().st_size > 5000
    figure = servetwin("dejavu-fig19", "--trace_file", "trace.json", "--out", "figs", cwd=folder)
    assert figure.returncode == 0, figure.stderr
    assert "nothing fits: Baseline with 1" in figure.stdout
    assert sorted(path.name for path in (folder / "figs").iterdir()) == [
        "BLOOM-176B_4a100.csv",
        "BLOOM-176B_4a100.html",
        "BLOOM-176B_4a100.json",
        "BLOOM-176B_4a100.png",
        "BLOOM-176B_4a100_cost.html",
        "BLOOM-176B_4a100_cost.png",
    ]
