"""`servetwin study kavier` as a reader of the reproducibility document meets it."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from servetwin.cli import main

Done = subprocess.CompletedProcess[str]

PROGRAM = [sys.executable, "-m", "servetwin", "study", "kavier"]

# Every command of the document, as it stands there.
DOCUMENT = [
    """
--llm Llama-3-8B
--gpu A10
--trace reproducibility_capsule/experiment1/input/input_prefill_accuracy.csv
--kv_cache on
--output_folder reproducibility_capsule/experiment1/output/
""",
    """
--llm Llama-3-8B
--gpu A10
--trace reproducibility_capsule/experiment1/input/input_decode_accuracy.csv
--kv_cache on
--output_folder reproducibility_capsule/experiment1/output/
""",
    """
--llm Llama-3-8B
--gpu A10
--trace reproducibility_capsule/very_big_data/marconi_all_traces.csv
--kv_cache on
--output_folder reproducibility_capsule/experiment1/output/
--export_rate [SELECT BETWEEN 0.001, 0.01, 0.1, 1] which means 1ms, 10ms, 100ms, 1s
""",
    """
--llm Llama-3-8B
--gpu A10
--trace reproducibility_capsule/very_big_data/marconi_full.parquet
--kv_cache on
--output_folder data/output/
--export_rate 1
--flush_size 1000
--prefix_cache_min_tokens [pick 1024, 2048, 4096, 1000000] # 1000000 means no prefix cache
--max_cached_prompts [pick 8, 16]
--cache_scope session
--prefix_cache_policy prefill
""",
    """
--llm [Llama-3-8B,
--gpu A100
--trace reproducibility_capsule/very_big_data/small.parquet
--kv_cache [pick between on, off]
--output_folder data/output/
--export_rate 1
--flush_size 1000
--prefix_cache_min_tokens 10
--prefix_cache_policy none
""",
]
RUNS = [1, 1, 4, 7, 2]
SLICE = ["--requests", "40"]


def kavier(folder: Path, *words: str, given: str | None = None) -> Done:
    return subprocess.run(
        [*PROGRAM, *words], cwd=folder, input=given, capture_output=True, text=True
    )


def test_these_are_all_commands_of_the_document(data_dir: Path) -> None:
    page = data_dir.parent / "seeds" / "kavier_reproducibility.md"
    if not page.is_file():
        pytest.skip(f"no {page.name} beside the data")
    blocks = re.findall(r"^```bash\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)

    def words(block: str) -> list[str]:
        return block.split()

    assert [words(block) for block in blocks] == [words(block) for block in DOCUMENT]


@pytest.mark.parametrize("number", range(len(DOCUMENT)))
def test_a_command_of_the_document_as_it_is_typed(number: int, tmp_path: Path) -> None:
    # In one line, as a shell that takes # for a word hands it over.
    words = shlex.split(DOCUMENT[number].replace("\n", " "))
    check(number, tmp_path, kavier(tmp_path, *words, *SLICE))


@pytest.mark.parametrize("number", range(len(DOCUMENT)))
def test_a_command_of_the_document_from_standard_input(number: int, tmp_path: Path) -> None:
    done = kavier(tmp_path, "-", given=f"{DOCUMENT[number]}--requests 40\n")
    check(number, tmp_path, done)


def check(number: int, folder: Path, done: Done) -> None:
    """Every run of the command left its files, and its table says what stood in for the trace."""
    assert done.returncode == 0, done.stderr
    assert "does not exist; instead:" in " ".join(done.stdout.split())
    assert max(len(line) for line in done.stdout.splitlines()) <= 80
    (summary,) = folder.rglob("summary.json")
    runs = json.loads(summary.read_text())["runs"]
    assert len(runs) == RUNS[number]
    for run in runs:
        tasks, fragments = (folder / path for path in run["files"])
        assert pq.read_metadata(tasks).num_rows == run["requests"]
        assert pq.read_metadata(fragments).num_rows == run["fragments"]
    sizes = [run["settings"]["export_rate"] for run in runs]
    assert sorted(sizes) == sorted({0.001, 0.01, 0.1, 1.0} if number == 2 else sizes)


def test_post_processing_of_a_run(tmp_path: Path) -> None:
    words = (
        "--llm Llama-3-8B --gpu A10 --trace marconi-equivalent --output_folder run --export_rate 1"
    )
    assert kavier(tmp_path, *words.split(), *SLICE).returncode == 0
    words = "--kavier run/tasks.parquet --opendc powerSource.parquet --price 10 --out rated"
    done = kavier(tmp_path, *words.split(), "--carbon", "300")
    assert done.returncode == 0, done.stderr
    for word in ("energy", "CO2", "cost at $10/h", "million tokens", "power of our own"):
        assert word in done.stdout
    words = (
        "--kavier run/tasks.parquet --opendc rated/powerSource.parquet --price 10 --out again.json"
    )
    assert kavier(tmp_path, *words.split()).returncode == 0
    first, again = (
        json.loads((tmp_path / name).read_text())
        for name in ("rated/efficiency.json", "again.json")
    )
    assert again["energy_wh"] == pytest.approx(first["energy_wh"])
    assert again["notes"] == []


def test_json_stands_alone_and_names_simulated_and_real_time(tmp_path: Path) -> None:
    done = kavier(
        tmp_path,
        "--llm",
        "Llama-3-8B",
        "--gpu",
        "A10",
        "--trace",
        "marconi-equivalent",
        *SLICE,
        "--price",
        "2",
        "--carbon",
        "300",
        "--pue",
        "1.2",
        "--json",
    )
    assert done.returncode == 0, done.stderr
    (run,) = json.loads(done.stdout)["runs"]
    assert run["simulated_over_real"] == pytest.approx(run["simulated_s"] / run["wall_s"])
    assert run["energy"]["usd"] == pytest.approx(2 * run["total_h"])
    assert run["files"] == []
    assert list(tmp_path.iterdir()) == []


HEAD = "session_id,ts,num_input_tokens,num_output_tokens\n"
BAD_TRACES = {
    "negative": HEAD + "0,0,-5,3\n",
    "fractional": HEAD + "0,0,10.9,3\n",
    "huge": HEAD + "0,0,99999999999999999999,3\n",
    "nan": HEAD + "0,0,nan,3\n",
    "empty": "",
    "no rows": HEAD,
    "mixed": HEAD + "0,0,10,3\n0,0,ten,3\n",
    "missing cell": HEAD + "0,0,10\n",
    "prefix longer than the prompt": (
        'num_input_tokens,num_output_tokens,input_tokens\n2,3,"[1, 2, 3, 4]"\n'
    ),
    "bad time": HEAD + "0,inf,10,3\n",
}


@pytest.mark.parametrize("name", BAD_TRACES)
def test_a_bad_trace_gets_one_line(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.csv").write_text(BAD_TRACES[name])
    refused(tmp_path, "--llm Llama-3-8B --gpu A10 --trace bad.csv --output_folder out", capsys)


@pytest.mark.parametrize(
    "words",
    [
        "--gpu A10 --trace good.csv",
        "--llm Llama-4-9B --gpu A10 --trace good.csv",
        "--llm Llama-3-8B --gpu A11 --trace good.csv",
        "--llm Llama-3-8B --gpu A10 --trace nowhere.csv",
        "--llm Llama-3-8B --gpu A10 --trace good.csv --export_rate 0",
        "--llm Llama-3-8B --gpu A10 --trace good.csv --export_rate inf",
        "--llm Llama-3-8B --gpu A10 --trace good.csv --export_rate 0.0001",
        "--llm Llama-3-8B --gpu A10 --trace good.csv --pue 0.5",
        "--llm Llama-3-8B --gpu A10 --trace good.csv --price -1",
        "--llm Llama-3-8B --gpu A10 --trace good.csv --carbon nan",
        "--llm Llama-3-8B --gpu A10 --trace good.csv --output_folder good.csv",
        "--llm Llama-3-8B --gpu A10 --trace good.csv --nonsense 1",
        "--llm [Llama-3-8B, Llama-4-9B] --gpu A10 --trace good.csv --output_folder out",
        "--llm Llama-3-8B --gpu A10 --trace [good.csv, nowhere.csv] --output_folder out",
        "--llm Llama-3-8B --gpu A10 --trace good.csv --export_rate [1, 1e-9] --output_folder out",
        "--llm Llama-3-8B --gpu A10 A100 --trace good.csv",
        "--llm Llama-3-8B --gpu A10 --trace good.csv --kv_cache",
        "--llm Llama-3-8B --gpu A10 --trace good.csv --out x",
        "--kavier good.csv --opendc generated",
        "--kavier good.csv",
        "--kavier nowhere.parquet --opendc generated",
    ],
)
def test_a_bad_flag_gets_one_line(
    words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "good.csv").write_text(HEAD + "0,0,10,3\n")
    refused(tmp_path, words, capsys)


def refused(folder: Path, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.chdir(folder), pytest.raises(SystemExit) as ended:
        main(["study", "kavier", *words.split()])
    said = capsys.readouterr()
    assert ended.value.code == 2
    assert said.out == ""
    assert said.err.startswith("servetwin: error: ")
    assert len(said.err.splitlines()) == 1
    assert not (folder / "out").exists()


def test_ctrl_c_leaves_readable_parquet(tmp_path: Path) -> None:
    # 40 s of fragments: it is interrupted when the first row groups are on disk.
    words = (
        "--llm Llama-3-8B --gpu A100 --trace marconi-equivalent --kv_cache off "
        "--export_rate 0.1 --output_folder out"
    )
    partial = tmp_path / "out" / ".servetwin-partial-fragments.parquet"
    with subprocess.Popen(
        [*PROGRAM, *words.split()], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as running:
        while not (partial.exists() and partial.stat().st_size > 20_000):
            assert running.poll() is None, "ended before it could be interrupted"
            time.sleep(0.01)
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "interrupted" in errors
    assert pq.read_table(tmp_path / "out" / "fragments.partial.parquet").num_rows > 0
    assert pq.read_metadata(tmp_path / "out" / "tasks.partial.parquet").num_rows == 96_870
    assert not (tmp_path / "out" / "summary.json").exists()
