"""Pipeline stages on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from servetwin.cli import main
from servetwin.cli.build import build_deployment, resolved
from servetwin.cli.layers import load_settings
from servetwin.cli.settings import RunSettings
from servetwin.errors import InputError
from servetwin.report.figures import kv_over_time
from servetwin.results import read_run
from servetwin.sim.stages import lane_settings
from servetwin.types import Pipeline
from servetwin.units import PS_PER_S

BASE = {"model": "Llama-3.1-70B", "gpu": "A100-80GB", "pp": 4, "workload": "azure-conv"}


def settings(**changed: Any) -> RunSettings:
    return RunSettings(**(BASE | changed))


def saved(folder: Path, config: dict[str, Any]) -> Path:
    file = folder / "saved.yaml"
    file.write_text(json.dumps(config))
    return file


def test_as_many_microbatches_as_stages(tmp_path: Path) -> None:
    deployment, notes = build_deployment(settings())
    assert deployment.parallelism.pipeline == Pipeline(4)
    config = resolved(settings(), deployment)
    assert config["microbatches"] == 4
    assert "microbatches" in config["defaulted"]
    # A saved run of fewer stages has fewer microbatches, too.
    again = load_settings({"pp": 8}, saved(tmp_path, config)).settings
    assert build_deployment(again)[0].parallelism.pipeline == Pipeline(8)
    assert not any("one iteration in flight" in note for note in notes)


def test_one_iteration_at_a_time() -> None:
    deployment, _ = build_deployment(settings(microbatches=1))
    assert deployment.parallelism.pipeline is None
    assert resolved(settings(microbatches=1), deployment)["microbatches"] == 1


def test_stages_of_their_own() -> None:
    given = settings(
        stage_layers="17,21,21,21",
        stage_speeds="0.8,1,1,1",
        microbatches=6,
        resident_microbatches=3,
        host_link="20GB/s",
    )
    deployment, _ = build_deployment(given)
    pipeline = deployment.parallelism.pipeline
    assert pipeline is not None
    assert (pipeline.layers, pipeline.speeds) == ((17, 21, 21, 21), (0.8, 1.0, 1.0, 1.0))
    assert pipeline.host is not None
    assert pipeline.host.bandwidth == 20e9
    again, _ = build_deployment(RunSettings(**resolved(given, deployment)))
    assert again == deployment


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"pp": 1, "microbatches": 2}, "--microbatches needs pipeline stages: --pp 2 or more"),
        ({"pp": 1, "stage_layers": "80"}, "--stage-layers needs pipeline stages"),
        ({"stage_layers": "20,20,20"}, "3 layers are given for 4 pipeline stages"),
        ({"stage_layers": "20,20,20,19"}, "79 layers together, meta-llama/Llama-3.1-70B has 80"),
        ({"stage_speeds": "1,1"}, "2 speeds are given for 4 pipeline stages"),
        ({"resident_microbatches": 1}, "resident must lie between 2"),
        ({"resident_microbatches": 5}, "and the 4 microbatches"),
        (
            {"microbatches": 8, "max_num_seqs": 6},
            "microbatches 8: max-num-seqs 6 .*: at most microbatches 6, or at least max-num-seqs 8",
        ),
        ({"microbatches": 2, "scheduler": "single"}, "at most microbatches 1, or"),
        ({"microbatches": 9, "max_num_seqs": 4, "dp": 2}, "microbatches 8, or .* max-num-seqs 5"),
        ({"host_link": "PCIe4"}, "--resident-microbatches N"),
    ],
)
def test_stages_that_do_not_fit_together(changed: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        build_deployment(settings(**changed))


@pytest.mark.parametrize(
    ("changed", "microbatches"),
    [({"scheduler": "single"}, 1), ({"scheduler": "slots", "pp": 8}, 4), ({"max_num_seqs": 3}, 3)],
)
def test_no_more_microbatches_than_requests(changed: dict[str, Any], microbatches: int) -> None:
    deployment, notes = build_deployment(settings(**changed))
    config = resolved(settings(**changed), deployment)
    assert config["microbatches"] == microbatches
    seats = deployment.settings.max_num_seqs
    assert lane_settings(deployment).max_num_seqs == seats // microbatches
    told = f"pipeline: {microbatches} of {deployment.parallelism.pp} stages can work at a time"
    assert any(told in note for note in notes)
    again, same = build_deployment(RunSettings(**config))
    assert (again, same) == (deployment, notes)


def test_too_many_microbatches_are_one_line_and_leave_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (
        "simulate --model Llama-3.1-70B --gpu A100-80GB --pp 4 --microbatches 8 --max-num-seqs 6 "
        f"--workload azure-conv --out {tmp_path / 'out'}"
    )
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    assert ended.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_run_says_how_busy_the_stages_were(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (
        "simulate --model Llama-3.1-70B --gpu A100-80GB --pp 4 --workload azure-conv --rps 1 "
        f"--requests 200 --no-report --no-intervals --out {tmp_path / 'out'}"
    )
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "pp 4, 4 microbatches" in said
    assert "on one microbatch" in said
    assert max(map(len, said.splitlines())) <= 80
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    found = summary["metrics"]["pipeline"]
    assert (found["stages"], found["microbatches"]) == (4, 4)
    assert all(0.1 < share < 1.0 for share in found["utilization"])
    assert found["bubbles"] == pytest.approx(1 - sum(found["utilization"]) / 4, abs=1e-5)
    assert "waiting for a stage" in " ".join(said.split())
    table = read_run(tmp_path / "out").requests
    assert table.prefill_stage_wait is not None
    assert table.decode_stage_wait is not None
    waits = summary["metrics"]["attribution"]
    total = (table.prefill_stage_wait + table.decode_stage_wait).mean() / PS_PER_S
    assert waits["e2e"]["all"]["stage_wait"] == pytest.approx(total)
    assert 0 < waits["ttft"]["all"]["stage_wait"] < total


def test_both_pools_say_how_busy_their_stages_were(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (
        "simulate --model Llama-3.1-70B --gpu A100-80GB --pp 2 --tp 2 --decode-replicas 1 "
        "--decode-pp 4 --decode-tp 1 --workload azure-conv --rps 1 --requests 100 "
        f"--no-report --no-intervals --out {tmp_path / 'out'}"
    )
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    assert ended.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "prefill pool: stages busy" in said
    assert "; decode pool: stages busy" in said
    run = read_run(tmp_path / "out")
    assert run.pipeline is not None
    assert run.decode_pipeline is not None
    assert (run.pipeline["stages"], run.decode_pipeline["stages"]) == (2, 4)
    for found in (run.pipeline, run.decode_pipeline):
        busy = found["utilization"]
        assert 0.05 < min(busy) <= max(busy) < 1.0
        assert found["bubbles"] == pytest.approx(1 - sum(busy) / len(busy), abs=1e-5)


def test_the_kv_cache_of_a_pipeline_is_never_fuller_than_full(tmp_path: Path) -> None:
    words = (
        "simulate --model Llama-3.1-70B --gpu A100-80GB --pp 4 --workload azure-conv --rps 3 "
        f"--requests 300 --no-report --no-intervals --out {tmp_path / 'out'}"
    )
    with pytest.raises(SystemExit):
        main(words.split())
    chart = kv_over_time(read_run(tmp_path / "out"))
    assert chart is not None
    shares = [row["value"] for row in chart.to_dict()["datasets"].popitem()[1]]
    assert 0.1 < max(shares) <= 1.0


def test_drafts_need_their_acceptance() -> None:
    with pytest.raises(InputError, match="--speculative-tokens 3 needs --acceptance-length"):
        build_deployment(settings(speculative_tokens=3))
