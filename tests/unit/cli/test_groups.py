"""--also: replicas on other devices, from flags and files to a result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from servetwin.cli.build import build_deployment, prepare, resolved
from servetwin.cli.energy import energy_options, with_energy
from servetwin.cli.intervals import with_intervals
from servetwin.cli.layers import load_settings
from servetwin.cli.settings import RunSettings
from servetwin.errors import InputError
from servetwin.report.group_wording import group_lines
from servetwin.report.html import page
from servetwin.report.terminal import render
from servetwin.results import read_run, summary, write_run
from servetwin.results.schema import check
from servetwin.sim import SimOptions, simulate
from servetwin.types import RunResult

BASE: dict[str, Any] = {
    "model": "meta-llama/Llama-3.1-8B",
    "gpu": "H100-SXM",
    "replicas": 2,
    "workload": "azure-conv",
    "requests": 60,
    "rps": 20,
}
MIXED = ["A100-80GB:3:2", "H100-SXM,speed=0.5"]


def settings(**values: Any) -> RunSettings:
    return RunSettings(**(BASE | values))


@pytest.fixture(scope="module")
def mixed() -> RunResult:
    """A run on three kinds, with energy, intervals and all."""
    asked = settings(also=MIXED)
    prepared = prepare(asked)
    options = SimOptions(engine="reference")
    run = simulate(prepared.deployment, prepared.workload, prepared.cost, options)
    run = with_energy(run, prepared, energy_options(asked))
    return with_intervals(run, prepared, asked.model_copy(update={"reference": True}))


def test_groups_are_read_as_they_are_written() -> None:
    deployment, _ = build_deployment(settings(also=MIXED))
    first, second, third = deployment.kinds
    assert (first.accelerator.name, first.replicas, first.parallelism.tp) == ("H100-SXM", 2, 1)
    assert (second.accelerator.name, second.replicas, second.parallelism.tp) == ("A100-80GB", 3, 2)
    assert (third.accelerator.name, third.replicas, third.speed) == ("H100-SXM", 1, 0.5)
    assert deployment.devices == 2 + 6 + 1
    # An A100 alone would be given fewer sequences.
    assert second.settings.max_num_seqs == first.settings.max_num_seqs == 1024


def test_tp_is_that_of_the_deployment_where_none_is_given() -> None:
    deployment, _ = build_deployment(settings(tp=2, also=["A100-80GB:3", "L40S:1:4"]))
    assert [kind.parallelism.tp for kind in deployment.kinds] == [2, 2, 4]


def test_a_smaller_device_takes_shorter_requests() -> None:
    deployment, notes = build_deployment(settings(also=["L4:2"]))
    first, second = deployment.kinds
    assert second.settings.max_model_len < first.settings.max_model_len == 131_072
    assert any(note.startswith("group 2: max-model-len lowered") for note in notes)
    with pytest.raises(InputError, match="--also L4:2: one sequence of max-model-len"):
        build_deployment(settings(also=["L4:2"], max_model_len=131_072))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A100-80GBB:3", "--also A100-80GBB:3: unknown GPU"),
        ("A100-80GB:0", "must be at least 1"),
        ("A100-80GB:1:3", "tp 3 does not divide"),
        ("A100-80GB::2", "is not understood: write A100-80GB:3:2"),
        ("A100-80GB,spid=3", "did you mean speed"),
        ("A100-80GB,speed=0", "speed must lie between"),
        ("A100-80GB,speed=nan", "speed must lie between"),
        ("A100-80GB,ep=x", "ep must be a whole number"),
        ("A100-80GB,link=", "is not known"),
        ("A100-80GB,speed=0.5,speed=0.9", "speed= is given twice"),
        ("A100-80GB:\u0663", "is not understood"),
        ("A100-80GB,ep=\u0663", "ep must be a whole number"),
        ("A100-80GB,speed=\u0663", "speed must lie between"),
        ("A100-80GB,ep=1_0", "ep must be a whole number"),
        ("", "is not understood"),
    ],
)
def test_a_bad_group_is_told_in_one_line(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_deployment(settings(also=[text]))


@pytest.mark.parametrize("what", [{"decode_replicas": 1}, {"pp": 2}])
def test_what_is_not_simulated_with_groups_is_refused(what: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="--also is not simulated yet with"):
        build_deployment(settings(also=MIXED, **what))


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ({"kv_link": "Bogus"}, "--kv-link needs two pools"),
        ({"decode_router": "nonsense"}, "--decode-router needs two pools"),
        ({"prefill_replicas": 3}, "--prefill-replicas needs two pools"),
    ],
)
def test_settings_of_pools_are_not_ignored(what: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_deployment(settings(also=MIXED, **what))


def test_notes_name_the_group(mixed: RunResult) -> None:
    assert any(note.startswith("group 3: speed 0.5: ") for note in mixed.notes)


def test_engines_of_every_group_may_fail() -> None:
    """Numbers go on from group to group, and each restarts as long as its weights take to load."""
    asked = settings(also=["A100-80GB:1:2"], fail_at="1s:2,1s:0", detect="0s")
    prepared = prepare(asked)
    options = SimOptions(engine="reference")
    run = simulate(prepared.deployment, prepared.workload, prepared.cost, options)
    assert run.failures is not None
    back = {outage["engine"]: outage["back_s"] for outage in run.failures["outages"]}
    assert back[0] == pytest.approx(1 + run.failures["restart_s"])
    assert 21 < back[2] < back[0]  # half of the weights on each device
    for outage in run.failures["outages"]:
        assert outage["restart_s"] == pytest.approx(outage["back_s"] - 1)
    wrong = prepare(settings(also=["A100-80GB"], fail_at="1s:3"))
    with pytest.raises(InputError, match="engines are numbered from 0 to 2"):
        simulate(wrong.deployment, wrong.workload, wrong.cost, options)


def test_a_run_with_groups_runs_again_from_its_configuration(tmp_path: Path) -> None:
    config = prepare(settings(also=MIXED)).config
    assert config["also"] == [
        "A100-80GB:3:2,link=NVSwitch2",
        "H100-SXM:1:1,speed=0.5,link=NVSwitch3",
    ]
    file = tmp_path / "summary.json"
    file.write_text(json.dumps({"schema": "servetwin.run/1", "config": config}))
    again = prepare(load_settings({}, file, ()).settings)
    assert again.config == config
    alone = load_settings({}, file, ("also=null",)).settings
    assert not build_deployment(alone)[0].also


@pytest.mark.parametrize(
    "asked",
    [
        {"link": "PCIe4", "also": ["H100-SXM:1:2,link=NVLink4", "H100-SXM", "A100-80GB:2:2"]},
        {"model": "Mixtral-8x7B", "tp": 4, "ep": 4, "also": ["H200:1:4,ep=1", "H200:1:2"]},
        {"model": "Mixtral-8x7B", "tp": 4, "also": ["H200:2:4,ep=4", "H200:1:4,speed=0.7"]},
        {"gpu": "A100-80GB", "also": ["L4:2", "H100-SXM"]},
    ],
)
def test_what_was_decided_is_decided_again(asked: dict[str, Any]) -> None:
    first = settings(**asked)
    deployment, _ = build_deployment(first)
    again, _ = build_deployment(RunSettings(**resolved(first, deployment)))
    assert again == deployment


def test_a_result_tells_of_each_group(mixed: RunResult, tmp_path: Path) -> None:
    content = check(write_run(mixed, tmp_path), "summary.json")
    groups = content["metrics"]["groups"]
    assert [group["first"] for group in groups] == [0, 2, 5]
    assert [group["devices"] for group in groups] == [2, 6, 1]
    assert sum(group["requests"] for group in groups) == 60
    assert sum(group["share"] for group in groups) == pytest.approx(1)
    fast, _, slow = groups
    assert slow["tpot_ms"]["p50"] > 1.5 * fast["tpot_ms"]["p50"]
    assert fast["capacity_blocks"] == slow["capacity_blocks"] != groups[1]["capacity_blocks"]
    again = summary(read_run(tmp_path))
    assert again["metrics"]["groups"] == groups
    assert [known["gpu"] for known in content["provenance"]["also"]] == ["A100-80GB", "H100-SXM"]


def test_every_gpu_has_its_own_price_and_power(mixed: RunResult) -> None:
    metrics = summary(mixed)["metrics"]
    groups = metrics["groups"]
    joules = [group["energy_j"] for group in groups]
    assert sum(joules) == pytest.approx(metrics["energy"]["total_j"])
    hours = mixed.requests.finish.max() / 1e12 / 3600
    dollars = sum(group["usd_per_gpu_hour"] * group["devices"] for group in groups) * hours
    assert metrics["cost"]["usd"] == pytest.approx(dollars)
    assert groups[0]["usd_per_gpu_hour"] != groups[1]["usd_per_gpu_hour"]
    timeline = mixed.timeline
    assert timeline is not None
    assert timeline.power_w is not None
    assert np.unique(timeline.replica).size == 6


def test_a_price_that_is_given_is_that_of_every_group(mixed: RunResult, tmp_path: Path) -> None:
    def prices(price: str) -> list[float | None]:
        asked = settings(also=MIXED, price=price)
        run = with_energy(mixed, prepare(asked), energy_options(asked))
        lines = group_lines(summary(run)["metrics"]["groups"]).values()
        assert [("a GPU and hour" in line) for line in lines] == [price == "1"] * 3
        return [group["usd_per_gpu_hour"] for group in run.groups or ()]

    (tmp_path / "hours.csv").write_text("hour,price\n0,1\n1,2\n")
    assert prices("1") == [1.0, 1.0, 1.0]
    assert prices(str(tmp_path / "hours.csv")) == [None, None, None]


def test_a_trace_names_the_gpu_of_each_replica(mixed: RunResult, tmp_path: Path) -> None:
    write_run(mixed, tmp_path, chrome_trace=True)
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    names = [event["args"]["name"] for event in events if event["ph"] == "M"]
    assert names[1:3] == ["replica 1, H100-SXM", "replica 2, A100-80GB"]


def test_intervals_are_those_of_the_least_certain_kind() -> None:
    """A device of another vendor than the fitted ones widens them."""

    def pace(also: list[str]) -> list[float]:
        asked = settings(also=also, requests=5, reference=True)
        prepared = prepare(asked)
        run = simulate(
            prepared.deployment, prepared.workload, prepared.cost, SimOptions(engine="reference")
        )
        evidence = with_intervals(run, prepared, asked).provenance["evidence"]
        assert "replicas of one kind" in evidence["nearest"]["differs"]
        found: list[float] = evidence["measured_over_predicted"]["pace"]
        return found

    assert pace(["A100-80GB"]) != pace(["MI300X"])


def test_the_screen_fits_80_columns(mixed: RunResult) -> None:
    console = Console(width=80, record=True, file=None)
    with console.capture() as capture:
        console.print(render(summary(mixed), 80))
    lines = capture.get().splitlines()
    assert max(map(len, lines)) <= 80
    text = " ".join(line.strip() for line in lines)
    assert "Llama-3.1-8B on H100-SXM and A100-80GB, simulated" in text
    assert (
        "A100-80GB, tp 2, link NVSwitch2, 3 replicas; H100-SXM, tp 1, speed 0.5, 1 replica" in text
    )
    for number in (1, 2, 3):
        assert f"Group {number} " in text


def test_the_page_draws_the_cache_of_each_group(mixed: RunResult) -> None:
    html = page(mixed)
    assert "group 1, H100-SXM" in html
    assert "group 2, A100-80GB" in html
