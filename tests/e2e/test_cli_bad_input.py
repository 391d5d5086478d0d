"""Every mistake a user can make: one clear line, exit status 2, and nothing written."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

Done = subprocess.CompletedProcess[str]

AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
ROW = "2023-11-16 18:15:46.6805900,374,44\n"

DEPLOYMENT = ["--model", "meta-llama/Llama-3.1-8B", "--gpu", "A100-80GB"]


def simulate(
    folder: Path, *args: str, limit: Callable[[], None] | None = None, out: str = "out"
) -> Done:
    command = [sys.executable, "-m", "servetwin", "simulate", *args, "--out", out]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, preexec_fn=limit)


def one_line(done: Done) -> str:
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    prefix = "servetwin: error: "
    assert done.stderr.startswith(prefix)
    return done.stderr.removeprefix(prefix).strip()


def says(folder: Path, args: Sequence[str], message: Sequence[str]) -> None:
    before = sorted(folder.rglob("*"))
    line = one_line(simulate(folder, *args))
    assert all(part in line for part in message), line
    assert sorted(folder.rglob("*")) == before


TRACES: dict[str, tuple[bytes, list[str]]] = {
    "empty": (b"", ["bad.csv", "empty"]),
    "cut in a row": ((AZURE + ROW + "2023-11-16 18:15:46.68").encode(), ["bad.csv:3"]),
    "binary": (bytes(range(256)) * 8, ["bad.csv"]),
    "wrong column": (
        (AZURE.replace("ContextTokens", "ContxtTokens") + ROW).encode(),
        ["bad.csv:1", "ContextTokens"],
    ),
    "negative": ((AZURE + ROW.replace("374", "-374")).encode(), ["bad.csv:2", "ContextTokens"]),
    "nan": ((AZURE + ROW.replace("374", "nan")).encode(), ["bad.csv:2", "ContextTokens"]),
    "fraction": ((AZURE + ROW.replace("374", "37.4")).encode(), ["bad.csv:2", "ContextTokens"]),
    "absurd": ((AZURE + ROW.replace("374", "9" * 15)).encode(), ["bad.csv:2", "ContextTokens"]),
}


@pytest.mark.parametrize("name", list(TRACES))
def test_a_broken_trace(name: str, tmp_path: Path) -> None:
    content, message = TRACES[name]
    (tmp_path / "bad.csv").write_bytes(content)
    says(tmp_path, [*DEPLOYMENT, "--trace", "bad.csv"], message)


def test_a_missing_trace(tmp_path: Path) -> None:
    says(tmp_path, [*DEPLOYMENT, "--trace", "none.csv"], ["none.csv: no such file"])


WORKLOAD = ["--isl", "100", "--osl", "10", "--requests", "5"]
SMALL = [*DEPLOYMENT, *WORKLOAD, "--reference"]
SWEEP = [*SMALL, "--sweep-rps", "1,2"]

CONFLICTS: dict[str, tuple[list[str], str]] = {
    "rate": (["--rps", "3"], "--rps: the rates are those of the sweep; leave it or --sweep-rps"),
    "trace": (["--chrome-trace"], "--chrome-trace: a sweep writes no trace"),
    "timeline": (["--snapshot-interval", "2s"], "--snapshot-interval: a sweep writes no timeline"),
    "price": (["--price", "2"], "--price: a sweep computes no cost"),
    "pue": (["--pue", "1.2"], "--pue: a sweep computes no energy"),
}


@pytest.mark.parametrize("name", list(CONFLICTS))
def test_what_would_have_no_effect_in_a_sweep(name: str, tmp_path: Path) -> None:
    args, message = CONFLICTS[name]
    says(tmp_path, [*DEPLOYMENT, *WORKLOAD, "--sweep-rps", "1,2", *args], [message])


def test_what_a_sweep_has_no_use_for_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("rps: 3\nsnapshot_interval: 2s\nchrome_trace: true\n")
    args = [*SMALL, "--config", "run.yaml", "--sweep-rps", "1,2"]
    says(tmp_path, args, ["run.yaml:3: chrome_trace: a sweep writes no trace"])
    # The flag is stronger than the rate and the interval of the file.
    assert simulate(tmp_path, *args, "--set", "chrome_trace=null").returncode == 0


def test_a_rate_of_a_load_curve_runs_alone(tmp_path: Path) -> None:
    assert simulate(tmp_path, *SWEEP, out="curve").returncode == 0
    config = ["--config", "curve/load_curve.json"]
    assert simulate(tmp_path, *config, "--rps", "2").returncode == 0
    assert (tmp_path / "out" / "summary.json").exists()


def test_a_trace_needs_a_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "servetwin", "simulate", *SMALL, "--chrome-trace"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert one_line(done) == "--chrome-trace writes a file: give --out DIR"


CHOICES: dict[str, tuple[list[str], list[str]]] = {
    "model": (["--model", "meta-llama/Llama-3.1-9B"], ["unknown model", "Llama-3.1-8B"]),
    "gpu": (["--gpu", "A100-90GB"], ["unknown GPU", "A100-80GB"]),
    "does not fit": (["--model", "meta-llama/Llama-3.1-70B"], ["does not fit", "GPUs would do"]),
    "tp": (["--tp", "3"], ["tp 3 does not divide", "tp can be 1, 2, 4"]),
    "replicas": (["--replicas", "0"], ["--replicas '0': must be at least 1"]),
    "rate": (["--rps", "-1"], ["--rps '-1': must be above 0"]),
    "no number": (["--rps", "fast"], ["--rps 'fast': must be a finite number"]),
    "context": (["--isl", "200000"], ["request 0", "more than the context", "5 of 5 requests"]),
    "option": (["--max-num-seq", "4"], ["No such option: --max-num-seq", "--max-num-seqs"]),
    "set": (["--set", "max_num_seq=4"], ["unknown setting", "max_num_seqs"]),
    "config": (["--config", "none.yaml"], ["none.yaml: no such file"]),
    "slo": (["--slo", "ttft=500"], ["ttft=500", "ttft=500ms"]),
    "prefix": (["--prefix-caching-policy", "belady"], ["unknown policy", "vllm-lru"]),
    "snapshots": (["--snapshot-interval", "often"], ["--snapshot-interval often", "100ms"]),
    "seed": (["--seed", str(2**63)], ["--seed", "must be below"]),
    "blocks": (["--num-gpu-blocks-override", "9" * 20], ["--num-gpu-blocks-override", "at most"]),
    "snapshots too close": (["--snapshot-interval", "1e-13s"], ["--snapshot-interval 1e-13s"]),
    "sweep": (["--sweep-rps", "1,x"], ["--sweep-rps 'x'"]),
    "rate of arrivals at once": (
        ["--arrivals", "once", "--rps", "3"],
        ["'once' have no rate of their own: leave --rps away"],
    ),
    "sweep closed": (
        ["--sweep-rps", "1,2", "--arrivals", "closed:concurrency=4"],
        ["set their own rate"],
    ),
}


@pytest.mark.parametrize("name", list(CHOICES))
def test_a_bad_choice(name: str, tmp_path: Path) -> None:
    args, message = CHOICES[name]
    says(tmp_path, [*DEPLOYMENT, *WORKLOAD, *args], message)


def test_an_output_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    assert one_line(simulate(tmp_path, *DEPLOYMENT, *WORKLOAD)).startswith("--out out: is a file")
    assert (tmp_path / "out").read_text() == "mine"


def test_an_output_that_would_replace_the_trace(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    trace = tmp_path / "out" / "trace.json"
    trace.write_text("[[100, 20]]")
    done = simulate(tmp_path, *DEPLOYMENT, "--trace", "out/trace.json")
    assert "would replace out/trace.json" in one_line(done)
    assert trace.read_text() == "[[100, 20]]"


@pytest.mark.parametrize(
    ("args", "name"),
    [
        (SMALL, "report.html"),
        (SMALL, "summary.json"),
        (SMALL, "requests.parquet"),
        ([*SMALL, "--chrome-trace"], "trace.json"),
        (SWEEP, "load_curve.html"),
    ],
)
def test_a_folder_where_a_file_should_be_written(
    args: list[str], name: str, tmp_path: Path
) -> None:
    (tmp_path / "out" / name / "mine").mkdir(parents=True)
    says(tmp_path, args, [f"'out/{name}'", "is a folder, not a file"])


def test_a_folder_that_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / "out" / "trace.json").mkdir(parents=True)
    for _ in range(2):
        assert simulate(tmp_path, *SMALL).returncode == 0
    assert (tmp_path / "out" / "trace.json").is_dir()


def test_a_folder_holds_one_kind_of_result(tmp_path: Path) -> None:
    assert simulate(tmp_path, *SMALL, out="run").returncode == 0
    assert simulate(tmp_path, *SWEEP, out="curve").returncode == 0
    before = sorted(tmp_path.rglob("*"))
    told = one_line(simulate(tmp_path, *SWEEP, out="run"))
    assert told == "--out run: holds a run (summary.json); name another folder for a load curve"
    told = one_line(simulate(tmp_path, *SMALL, out="curve"))
    assert told == (
        "--out curve: holds a load curve (load_curve.json); name another folder for a run"
    )
    assert sorted(tmp_path.rglob("*")) == before


def test_an_output_without_a_name(tmp_path: Path) -> None:
    assert one_line(simulate(tmp_path, *SMALL, out="")).startswith("--out '': name a folder")
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_may_not_be_written() -> None:
    done = simulate(Path("/"), *DEPLOYMENT, *WORKLOAD, out="/proc/servetwin")
    assert "/proc/servetwin" in one_line(done)


STDOUT = {
    "a summary": ["simulate", *SMALL],
    "json": ["simulate", *SMALL, "--json"],
    "a sweep": ["simulate", *SWEEP],
    "help": ["--help"],
    "lines": ["doctor"],
}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("name", list(STDOUT))
def test_a_full_disk_behind_stdout(name: str, tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "servetwin", *STDOUT[name]],
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert (done.returncode, done.stderr) == (
        2,
        "servetwin: error: cannot write to stdout: the disk is full\n",
    )


@pytest.mark.parametrize("name", list(STDOUT))
def test_a_reader_who_has_left(name: str, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "servetwin", *STDOUT[name]]
    done = subprocess.run(command, cwd=tmp_path, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize(("closed", "status"), [(">&-", 0), (">&- 2>&-", 0), ("2>/dev/full", 0)])
def test_closed_streams(closed: str, status: int, tmp_path: Path) -> None:
    script = f'"{sys.executable}" -m servetwin doctor {closed}'
    done = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (status, "")
    unknown = script.replace("doctor", "doctr")
    done = subprocess.run(["sh", "-c", unknown], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.parametrize("sweep", [[], ["--sweep-rps", "1,2"]])
def test_a_full_disk_leaves_nothing(sweep: list[str], tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000))

    done = simulate(tmp_path, *DEPLOYMENT, *WORKLOAD, *sweep, limit=limit)
    assert "cannot write to" in one_line(done)
    assert list(tmp_path.rglob("*")) == []


def test_a_full_disk_keeps_what_was_there(tmp_path: Path) -> None:
    assert simulate(tmp_path, *DEPLOYMENT, *WORKLOAD).returncode == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000))

    one_line(simulate(tmp_path, *DEPLOYMENT, *WORKLOAD, "--seed", "1", limit=limit))
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_a_report_of_no_run(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "servetwin", "report", os.fspath(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "holds no summary.json" in one_line(done)
