"""Prefill and decode pools on the command line: each test runs the program."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

RUN = (
    *("simulate", "--model", "meta-llama/Llama-3.1-8B", "--gpu", "H100-SXM"),
    *("--workload", "azure-conv", "--requests", "300"),
    *("--prefill-replicas", "2", "--decode-replicas", "3", "--decode-gpu", "A100-80GB"),
    *("--kv-link", "5GB/s,latency=20us", "--decode-router", "least-tokens"),
)


def servetwin(folder: Path, *args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "servetwin", *args]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert not check or done.returncode == 0, done.stderr
    return done


def test_both_simulators_and_a_saved_run_give_the_same_file(tmp_path: Path) -> None:
    done = servetwin(tmp_path, *RUN, "--rps", "20", "--chrome-trace", "--out", "fast")
    assert "2 prefill replicas" in done.stdout
    assert "on one decode replica" in done.stdout
    assert "one pool of engines instead of two" in " ".join(done.stdout.split())
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "KV transfer" in (tmp_path / "fast" / "trace.json").read_text()
    servetwin(tmp_path, *RUN, "--rps", "20", "--reference", "--no-intervals", "--out", "slow")
    servetwin(tmp_path, "simulate", "--config", "fast/summary.json", "--out", "again")
    table = (tmp_path / "fast" / "requests.parquet").read_bytes()
    assert (tmp_path / "slow" / "requests.parquet").read_bytes() == table
    assert (tmp_path / "again" / "requests.parquet").read_bytes() == table
    content = json.loads((tmp_path / "fast" / "summary.json").read_text())
    assert content["metrics"]["kv_cache"]["decode"]["first"] == 2
    assert servetwin(tmp_path, "report", "again").returncode == 0


def test_a_configuration_in_yaml_and_a_closed_loop(tmp_path: Path) -> None:
    text = """
        model: meta-llama/Llama-3.1-8B
        gpu: A100-80GB
        isl: 200..900
        osl: 50
        arrivals: closed:concurrency=8,think=1s
        requests: 60
        prefill_replicas: 1
        decode_replicas: 2
        kv_transfer: after
    """
    (tmp_path / "run.yaml").write_text("\n".join(line.strip() for line in text.splitlines()))
    done = servetwin(tmp_path, "simulate", "--config", "run.yaml", "--json")
    metrics = json.loads(done.stdout)["metrics"]
    assert metrics["completed"] == 60
    assert metrics["attribution"]["e2e"]["all"]["transfer"] > 0


def test_a_sweep_over_rates(tmp_path: Path) -> None:
    servetwin(tmp_path, *RUN, "--sweep-rps", "2,20", "--out", "curve")
    points = json.loads((tmp_path / "curve" / "load_curve.json").read_text())["points"]
    assert len(points) == 2


def test_a_mistake_is_one_line(tmp_path: Path) -> None:
    done = servetwin(tmp_path, *RUN, "--rps", "2", "--kv-link", "string", check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "string" in done.stderr
