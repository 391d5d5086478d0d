"""From settings to a deployment and a workload."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from servetwin.cli.build import build_deployment, prepare, resolved, typical_context
from servetwin.cli.build_workload import build_workload
from servetwin.cli.failure_settings import FailureSettings
from servetwin.cli.layers import load_settings
from servetwin.cli.settings import RunSettings
from servetwin.errors import InputError
from servetwin.types import Workload
from servetwin.units import NOT_YET, PS_PER_S

BASE: dict[str, Any] = {"model": "meta-llama/Llama-3.1-8B", "gpu": "A100-80GB"}


def settings(**values: Any) -> RunSettings:
    return RunSettings(**{**BASE, **values})


def test_resolved_settings_resolve_to_themselves() -> None:
    first = settings(workload="azure-conv", requests=10, max_num_seqs=32)
    config = prepare(first).config
    again = RunSettings(**{name: value for name, value in config.items() if value is not None})
    assert prepare(again).config == config
    assert build_deployment(again)[0] == build_deployment(first)[0]


@pytest.mark.parametrize("dp", [1, 4])
def test_limits_are_those_of_a_rank_wherever_they_are_written(dp: int) -> None:
    line = f"-dp {dp} --max-num-seqs 32 --max-num-batched-tokens 1k --num-gpu-blocks-override 500"
    flags = {"dp": dp, "max_num_seqs": 32, "max_num_batched_tokens": 1000}
    flags["num_gpu_blocks_override"] = 500
    pasted = load_settings({**BASE, "engine_args": line}).settings
    deployment, _ = build_deployment(pasted)
    assert build_deployment(settings(**flags))[0] == deployment
    assert deployment.settings.max_num_seqs == 32 * dp
    config = resolved(pasted, deployment)
    assert {name: config[name] for name in flags} == flags
    again = RunSettings(**{name: value for name, value in config.items() if value is not None})
    assert build_deployment(again)[0] == deployment


def test_every_setting_but_outputs_is_saved() -> None:
    def saved(chosen: RunSettings) -> set[str]:
        return set(resolved(chosen, build_deployment(chosen)[0]))

    left_out = {"out", "chrome_trace", "report", "intervals", "engine_args"}
    assert saved(settings(mtbf="1h")) == set(RunSettings.model_fields) - left_out
    # Nobody wonders how engines come back that do not fail.
    failing = set(FailureSettings.model_fields)
    assert saved(settings()) == set(RunSettings.model_fields) - left_out - failing


def test_a_length_nobody_chose_is_lowered_and_said() -> None:
    deployment, notes = build_deployment(settings(gpu="L4"))
    assert deployment.settings.max_model_len < deployment.model.max_model_len
    assert "max-model-len lowered" in notes[0]
    with pytest.raises(InputError, match="does not fit"):
        build_deployment(settings(gpu="L4", max_model_len=131_072))


def test_a_config_of_ones_own_says_how_large_a_model_it_is() -> None:
    folder = Path(__file__).parents[1] / "catalog" / "configs"
    _, notes = build_deployment(settings(model=str(folder / "Qwen__Qwen3-32B.json")))
    assert "describes a model of 32,762,123,264 parameters" in notes[0]
    _, notes = build_deployment(settings(model=str(folder / "Qwen__Qwen3-30B-A3B.json")))
    assert "one token uses 3,353,032,704 of them" in notes[0]
    assert not any("describes" in note for note in build_deployment(settings())[1])


def test_blocks_are_counted_so_that_the_longest_request_runs(tmp_path: Path) -> None:
    trace = tmp_path / "mixed.json"
    trace.write_text(json.dumps([[300, 10]] * 50 + [[60_000, 10]]))
    prepared = prepare(settings(model="google/gemma-3-27b-it", trace=str(trace)))
    assert prepared.cost.memory.capacity_blocks * 16 >= 60_009
    assert any("longest request fits" in note for note in prepared.cost.notes)


def test_typical_context_is_weighted_by_output() -> None:
    workload = Workload(
        arrival=np.zeros(2, dtype=np.int64),
        input_tokens=np.array([100, 1000], dtype=np.int32),
        output_tokens=np.array([300, 100], dtype=np.int32),
    )
    # (300 * (100 + 150) + 100 * (1000 + 50)) / 400
    assert typical_context(workload, 8192) == 450
    assert typical_context(workload, 200) == 200


def test_a_preset_comes_at_exactly_the_rate_asked_for() -> None:
    workload = build_workload(settings(workload="azure-conv", requests=101, rps=4))
    assert workload.span_ps == 25 * PS_PER_S


def test_lengths_of_a_preset_can_be_replaced() -> None:
    workload = build_workload(settings(workload="azure-conv", requests=50, osl="7"))
    assert set(workload.output_tokens.tolist()) == {7}
    assert len(set(workload.input_tokens.tolist())) > 1


def test_lengths_without_a_rate_come_at_once() -> None:
    workload = build_workload(settings(isl="512", osl="1..9", requests=5))
    assert workload.arrival.tolist() == [0] * 5
    assert build_workload(settings(isl="512", osl="3", rps=1)).span_ps > 0


def test_a_closed_loop_over_a_preset() -> None:
    workload = build_workload(
        settings(workload="sharegpt", requests=20, arrivals="closed:concurrency=4,think=1s")
    )
    assert int(np.count_nonzero(workload.arrival != NOT_YET)) == 4


def test_a_trace_takes_other_arrivals(tmp_path: Any) -> None:
    log = tmp_path / "log.csv"
    rows = "\n".join(f"{i},10,5" for i in range(100))
    log.write_text(f"ts,prompt,answer\n{rows}\n")
    mapping = {"arrival": "ts", "input": "prompt", "output": "answer"}
    plain = build_workload(settings(trace=str(log), map=mapping))
    assert plain.span_ps == 99 * PS_PER_S
    fast = build_workload(settings(trace=str(log), map=mapping, rps=10, requests=11))
    assert (len(fast), fast.span_ps) == (11, PS_PER_S)
    gamma = settings(trace=str(log), map=mapping, rps=10, arrivals="gamma:cv=2")
    assert np.unique(np.diff(build_workload(gamma).arrival)).size > 50
    assert np.array_equal(build_workload(gamma).arrival, build_workload(gamma).arrival)
    with pytest.raises(InputError, match="has only 100 requests"):
        build_workload(settings(trace=str(log), map=mapping, requests=101))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "no workload: give --trace"),
        ({"isl": "5"}, "--isl and --osl belong together"),
        ({"workload": "azure-conv", "format": "azure"}, "--format and --map describe a trace"),
    ],
)
def test_workloads_that_nobody_described(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_workload(settings(**values))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model": None}, "no model: give --model"),
        ({"gpu": None}, "no GPU: give --gpu"),
        ({"model": "meta-llama/Llama-3.1-9B"}, "did you mean"),
        ({"gpu": "A1000"}, "did you mean A100"),
        ({"router": "round-robbin"}, "did you mean round-robin"),
        ({"scheduler": "vlm"}, "did you mean vllm"),
        ({"link": "NVLink44"}, "did you mean"),
        ({"tp": 3}, "tp 3 does not divide the 32 attention heads"),
        ({"model": "meta-llama/Llama-3.1-70B"}, "does not fit .* GPUs would do"),
        ({"prefix_caching_policy": "vllm_lr"}, "did you mean vllm-lru"),
        ({"draft_share": 0.2}, "--draft-share is for .* give --speculative-tokens"),
        ({"acceptance_length": 2.0}, "--acceptance-length is for .* give --speculative-tokens"),
        ({"max_loras": 2000, "max_lora_rank": 256}, "a smaller max-loras or max-lora-rank would"),
        ({"gpu_memory_utilization": 2.0}, "gpu_memory_utilization must lie"),
    ],
)
def test_deployments_that_cannot_run(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_deployment(settings(**values))


def test_costs_that_are_nowhere() -> None:
    with pytest.raises(InputError, match="there is no such folder"):
        prepare(settings(cost="measured", workload="azure-conv"))


def test_an_earlier_run_without_speculation_is_accepted() -> None:
    assert build_deployment(settings(acceptance_length=1.0)) == build_deployment(settings())


def test_an_input_longer_than_the_context_is_counted_and_named() -> None:
    with pytest.raises(InputError, match=r"request 0 has 2000 input .*context.*3 of 3 requests"):
        prepare(settings(model="openai-community/gpt2", isl="2000", osl="5", requests=3))
    # Longer only with its output: left to the engine, which rejects it.
    prepare(settings(model="openai-community/gpt2", isl="1000", osl="500", requests=3))


def test_the_equivalent_of_kaviers_trace_is_cut_and_replayed_like_a_file() -> None:
    workload = build_workload(settings(workload="marconi-equivalent", requests=100, rps=2))
    assert len(workload) == 100
    assert workload.span_ps == 99 * PS_PER_S // 2
    assert workload.block_hashes is not None
    with pytest.raises(InputError, match="has only 96,870 requests"):
        build_workload(settings(workload="marconi-equivalent", requests=100_000))
    with pytest.raises(InputError, match="lengths of its own"):
        build_workload(settings(workload="Marconi-equivalent", isl="5"))
