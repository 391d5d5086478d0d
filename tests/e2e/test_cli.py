"""The command line as a user meets it: each test runs the program."""

from __future__ import annotations

import csv
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

DEPLOYMENT = ("--model", "meta-llama/Llama-3.1-8B", "--gpu", "A100-80GB")
REQUESTS = ("--workload", "azure-conv", "--requests", "300")
SMALL = (*REQUESTS, "--rps", "4")

FILES = {"summary.json", "requests.parquet", "timeline.parquet", "report.html"}


def servetwin(folder: Path, *args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "servetwin", *args]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert not check or done.returncode == 0, done.stderr
    return done


def simulate(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return servetwin(folder, "simulate", *DEPLOYMENT, *SMALL, *args)


def sweep(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return servetwin(folder, "simulate", *DEPLOYMENT, *REQUESTS, *args)


def summary(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return content


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_run_leaves_its_files_and_fits_80_columns(tmp_path: Path) -> None:
    done = simulate(tmp_path, "--out", "out", "--slo", "ttft=1s,tpot=50ms")
    assert names(tmp_path / "out") == FILES
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "300 of 300" in done.stdout
    metrics = summary(tmp_path / "out")["metrics"]
    assert (metrics["requests"], metrics["completed"]) == (300, 300)
    assert 0 < metrics["goodput_req_s"] <= metrics["request_throughput_req_s"]


def test_files_that_are_not_asked_for_again_go_and_others_stay(tmp_path: Path) -> None:
    simulate(tmp_path, "--out", "out", "--chrome-trace")
    assert names(tmp_path / "out") == {*FILES, "trace.json"}
    (tmp_path / "out" / "notes.txt").write_text("mine")
    simulate(tmp_path, "--out", "out", "--no-report", "--snapshot-interval", "0s")
    assert names(tmp_path / "out") == {"summary.json", "requests.parquet", "notes.txt"}


def test_json_is_alone_on_stdout_and_equals_the_file(tmp_path: Path) -> None:
    done = simulate(tmp_path, "--json", "--out", "out")
    assert json.loads(done.stdout) == summary(tmp_path / "out")
    assert json.loads(simulate(tmp_path, "--json").stdout)["schema"] == "servetwin.run/1"


def test_a_saved_summary_runs_again_to_the_same_result(tmp_path: Path) -> None:
    line = "vllm serve x --max-num-seqs 16 --gpu-memory-utilization=0.4 --enable-eplb"
    done = simulate(tmp_path, "--engine-args", line, "--slo", "ttft=1s", "--out", "a")
    assert done.stderr.splitlines()[-1] == (
        "servetwin: warning: engine options without effect here: --enable-eplb"
    )
    servetwin(tmp_path, "simulate", "--config", "a/summary.json", "--out", "b")
    first, second = summary(tmp_path / "a"), summary(tmp_path / "b")
    assert first["config"]["max_num_seqs"] == 16
    for part in ("experiment_id", "config", "workload", "metrics"):
        assert first[part] == second[part]
    for name in ("requests.parquet", "timeline.parquet"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_the_reference_gives_the_same_files(tmp_path: Path) -> None:
    simulate(tmp_path, "--out", "kernel")
    simulate(tmp_path, "--out", "reference", "--reference")
    assert summary(tmp_path / "kernel")["metrics"] == summary(tmp_path / "reference")["metrics"]
    for name in ("requests.parquet", "timeline.parquet"):
        paths = [tmp_path / folder / name for folder in ("kernel", "reference")]
        assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_yaml_file_does_what_flags_do(tmp_path: Path) -> None:
    config = """
        model: meta-llama/Llama-3.1-8B
        gpu: A100-80GB
        workload: azure-conv
        requests: 300
        rps: 4
    """
    (tmp_path / "run.yaml").write_text("\n".join(line.strip() for line in config.splitlines()))
    from_flags = json.loads(simulate(tmp_path, "--json", "--seed", "3").stdout)
    args = ("--config", "run.yaml", "--set", "seed=3", "--json")
    from_file = json.loads(servetwin(tmp_path, "simulate", *args).stdout)
    assert from_file["config"] == from_flags["config"]
    assert from_file["metrics"] == from_flags["metrics"]


def test_a_report_is_written_again(tmp_path: Path) -> None:
    simulate(tmp_path, "--out", "out", "--no-report", "--slo", "ttft=1s")
    done = servetwin(tmp_path, "report", "out")
    assert "out/report.html" in done.stdout
    assert "TTFT" in (tmp_path / "out" / "report.html").read_text()


def test_a_sweep_gives_table_figure_and_knee(tmp_path: Path) -> None:
    args = ("--sweep-rps", "8,0.5,2,4,16", "--slo", "ttft=1s,tpot=50ms", "--out", "out")
    done = sweep(tmp_path, *args)
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert re.search(r"Knee +\d+ requests/s, the most throughput per latency", done.stdout)
    assert re.search(r"Limit +\d+ requests/s, where P99 TTFT or E2E is more than", done.stdout)
    assert re.search(r"SLO +met up to \d+ requests/s", done.stdout)
    kinds = ("csv", "json", "png", "html")
    assert names(tmp_path / "out") == {f"load_curve.{kind}" for kind in kinds}
    content = json.loads((tmp_path / "out" / "load_curve.json").read_text())
    rates = [point["offered_rps"] for point in content["points"]]
    assert rates == [0.5, 2, 4, 8, 16]
    assert content["base_rps"] == 0.5
    assert content["knee_rps"] in rates
    with (tmp_path / "out" / "load_curve.csv").open() as file:
        assert [float(row["offered_rps"]) for row in csv.DictReader(file)] == rates


def test_a_sweep_says_what_was_swept_and_where_it_is_overloaded(tmp_path: Path) -> None:
    done = sweep(tmp_path, "--sweep-rps", "2,4,60", "--out", "out")
    page = (tmp_path / "out" / "load_curve.html").read_text()
    title = "Load curve: meta-llama/Llama-3.1-8B on A100-80GB, simulated"
    assert f"<title>{title}</title>" in page
    assert done.stdout.splitlines()[0] == title
    for text in (done.stdout, page):
        assert "azure-conv, 300 requests, mean ISL" in text
        assert "Overload at 60 requests/s" in text
    content = json.loads((tmp_path / "out" / "load_curve.json").read_text())
    assert [point["overloaded"] for point in content["points"]] == [False, False, True]
    assert (content["workload"]["requests"], content["workload"]["rps"]) == (300, None)


def test_a_sweep_without_a_page_removes_a_former_one(tmp_path: Path) -> None:
    sweep(tmp_path, "--sweep-rps", "2,4", "--out", "out")
    done = sweep(tmp_path, "--sweep-rps", "2,4", "--out", "out", "--no-report")
    assert names(tmp_path / "out") == {f"load_curve.{kind}" for kind in ("csv", "png", "json")}
    assert "html" not in done.stdout


def test_a_load_curve_runs_again_and_says_what_its_costs_are(tmp_path: Path) -> None:
    done = sweep(tmp_path, "--sweep-rps", "2,4", "--seed", "3", "--out", "a")
    assert re.search("Costs +derived: ", done.stdout)
    again = servetwin(tmp_path, "simulate", "--config", "a/load_curve.json", "--json")
    first = json.loads((tmp_path / "a" / "load_curve.json").read_text())
    second = json.loads(again.stdout)
    assert first["provenance"]["cost_model"]["level"] == "derived"
    assert first["provenance"].pop("command") != second["provenance"].pop("command")
    assert first == second


def test_a_point_of_a_sweep_is_the_run_at_that_rate(tmp_path: Path) -> None:
    curve = json.loads(sweep(tmp_path, "--sweep-rps", "2,4", "--json").stdout)
    metrics = json.loads(simulate(tmp_path, "--json").stdout)["metrics"]
    point = curve["points"][1]
    assert point["ttft_p99_ms"] == metrics["ttft_ms"]["p99"]
    assert point["throughput_token_s"] == metrics["throughput_token_s"]


def test_workloads_are_generated_converted_and_shown(tmp_path: Path) -> None:
    args = ("--workload", "azure-code", "--requests", "50", "--seed", "2")
    servetwin(tmp_path, "workload", "generate", "a.parquet", *args)
    servetwin(tmp_path, "workload", "convert", "a.parquet", "b.jsonl", "--to", "mooncake")
    shown = [
        json.loads(servetwin(tmp_path, "workload", "show", file, "--json").stdout)
        for file in ("a.parquet", "b.jsonl")
    ]
    for part in ("requests", "input_tokens", "output_tokens"):
        assert shown[0][part] == shown[1][part]
    text = servetwin(tmp_path, "workload", "show", "a.parquet").stdout
    assert max(map(len, text.splitlines())) <= 80
    assert "50" in text


@pytest.mark.parametrize(
    ("what", "word", "name"),
    [
        ("models", "llama 3.1", "Llama-3.1-8B"),
        ("gpus", "a100", "A100-80GB"),
        ("links", "", "PCIe4"),
    ],
)
def test_the_catalog_is_listed_within_80_columns(
    what: str, word: str, name: str, tmp_path: Path
) -> None:
    text = servetwin(tmp_path, "catalog", what, word).stdout
    assert name in text
    assert max(map(len, servetwin(tmp_path, "catalog", what).stdout.splitlines())) <= 80
    listed = json.loads(servetwin(tmp_path, "catalog", what, word, "--json").stdout)
    assert any(name in item["name"] for item in listed)


def test_the_doctor_finds_a_working_machine(tmp_path: Path) -> None:
    done = servetwin(tmp_path, "doctor")
    assert all(word in done.stdout for word in ("Python", "Kernel", "Memory", "Data", "Browser"))


def test_ctrl_c_ends_quietly_and_leaves_nothing(tmp_path: Path) -> None:
    args = ("--workload", "azure-conv", "--requests", "50000", "--reference", "--out", "out")
    # The warning about --enable-eplb says that the program has begun.
    command = [sys.executable, "-m", "servetwin", "simulate", *DEPLOYMENT, *args]
    process = subprocess.Popen(
        [*command, "--engine-args", "--enable-eplb"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert "warning" in process.stderr.readline()
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "servetwin: interrupted\n")
    assert list(tmp_path.iterdir()) == []
