"""Priorities on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from servetwin.cli import main
from servetwin.cli.build import build_deployment, resolved
from servetwin.cli.build_workload import build_workload
from servetwin.cli.engine_args import parse_engine_args
from servetwin.cli.settings import RunSettings

BASE = {"model": "Llama-3.1-8B", "gpu": "A100-80GB", "workload": "azure-conv", "requests": 200}


def settings(**changed: Any) -> RunSettings:
    return RunSettings(**(BASE | changed))


def test_both_pools_have_the_policy() -> None:
    given = settings(scheduling_policy="priority", decode_replicas=1)
    deployment, _ = build_deployment(given)
    assert [pool.settings.by_priority for pool in deployment.pools] == [True, True]
    assert build_deployment(RunSettings(**resolved(given, deployment)))[0] == deployment


def test_a_pasted_engine_line_names_it() -> None:
    found = parse_engine_args("vllm serve m --scheduling-policy priority")
    assert found.values == {"model": "m", "scheduling_policy": "priority"}
    assert not found.unknown


def test_drawn_priorities_leave_the_rest_as_it_was() -> None:
    plain, drawn = build_workload(settings()), build_workload(settings(priorities="0:1,7:1"))
    np.testing.assert_array_equal(plain.arrival, drawn.arrival)
    np.testing.assert_array_equal(plain.input_tokens, drawn.input_tokens)
    assert drawn.priority is not None
    assert set(drawn.priority.tolist()) == {0, 7}


def run(flags: list[str]) -> int:
    given = ["--model", "Llama-3.1-8B", "--gpu", "A100-80GB", "--isl", "90", "--osl", "20"]
    return status(["simulate", *given, *flags, "--no-intervals", "--json"])


def status(words: list[str]) -> int:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_who_counts_more_is_served_sooner(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--requests", "400", "--max-num-seqs", "8", "--priorities", "0:0.2,1:0.8"]
    assert run([*flags, "--scheduling-policy", "priority"]) == 0
    first, second = json.loads(capsys.readouterr().out)["metrics"]["priorities"]
    assert first["ttft_ms"]["max"] < second["ttft_ms"]["p50"]
    assert run(flags) == 0
    summary = json.loads(capsys.readouterr().out)
    assert any("does not heed" in note for note in summary["notes"])


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ("--scheduling-policy lifo", "scheduling policy 'lifo' is not known"),
        ("--scheduling-policy priority --scheduler orca", "priority is vllm's, not orca's"),
        ("--priorities 0=1", "'0=1' is none; write 0:0.2,1:0.8"),
    ],
)
def test_mistakes_are_told_in_one_line(
    flags: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(flags.split()) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


def test_converting_a_trace_draws_and_keeps_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace, target = tmp_path / "trace.csv", tmp_path / "trace.jsonl"
    trace.write_text("arrived_at,num_prefill_tokens,num_decode_tokens\n0,1,1\n1,2,2\n")
    flags = ["workload", "convert", str(trace), str(target)]
    assert status([*flags, "--priorities", "4:1"]) == 0
    assert [json.loads(line)["priority"] for line in target.read_text().splitlines()] == [4, 4]
    capsys.readouterr()
    assert status(["workload", "show", str(target)]) == 0
    assert "2 of 4" in capsys.readouterr().out
    assert status(["workload", "show", str(target), "--priorities", "0:1"]) == 2
    assert "priorities of its own" in capsys.readouterr().err


def test_adapters_of_a_pasted_line_and_of_flags() -> None:
    values = parse_engine_args("vllm serve m --max-loras 8 --enable-lora --max-lora-rank=32").values
    assert values == {"model": "m", "max_loras": "8", "max_lora_rank": "32"}
    assert parse_engine_args("m --enable-lora").values == {"model": "m", "max_loras": "1"}
    given = settings(max_loras=3, max_lora_rank=64)
    deployment, _ = build_deployment(given)
    assert (deployment.settings.max_loras, deployment.settings.max_lora_rank) == (3, 64)
    assert build_deployment(RunSettings(**resolved(given, deployment)))[0] == deployment
    drawn = build_workload(settings(adapters="4:zipf=1", priorities="0:1,1:1"))
    assert drawn.adapter is not None
    assert drawn.priority is not None


def test_fewer_adapters_at_once_make_requests_wait(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--requests", "300", "--rps", "30", "--adapters", "16", "--max-loras"]
    waits = []
    for most in ("1", "16"):
        assert run([*flags, most]) == 0
        waits.append(json.loads(capsys.readouterr().out)["metrics"]["queue_ms"]["mean"])
    assert waits[0] > 2 * waits[1]
