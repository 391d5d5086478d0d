"""Engines that fail, on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from servetwin.cli import main
from servetwin.cli.build import build_deployment, resolved
from servetwin.cli.failure_settings import FailureSettings
from servetwin.cli.settings import RunSettings
from servetwin.errors import InputError
from servetwin.types import FailureModel
from servetwin.units import PS_PER_S

BASE = {"model": "Llama-3.1-8B", "gpu": "A100-80GB", "replicas": 2, "workload": "azure-conv"}


def settings(**changed: Any) -> RunSettings:
    return RunSettings(**(BASE | changed))


def test_nothing_fails_unless_asked() -> None:
    deployment, _ = build_deployment(settings())
    assert deployment.failures is None
    assert not set(resolved(settings(), deployment)) & set(FailureSettings.model_fields)


def test_given_failures() -> None:
    given = settings(fail_at="2m:0, 300s:1", detect="500ms", restart="1m", reroute=False)
    deployment, _ = build_deployment(given)
    assert deployment.failures == FailureModel(
        at=((120 * PS_PER_S, 0), (300 * PS_PER_S, 1)),
        detect=PS_PER_S // 2,
        restart=60 * PS_PER_S,
        reroute=False,
    )
    assert build_deployment(RunSettings(**resolved(given, deployment)))[0] == deployment


@pytest.mark.parametrize(
    ("where", "link", "bandwidth"),
    [("neighbour", None, 50e9), ("host", None, 31.508e9), ("host", "10GB/s", 10e9)],
)
def test_copies(where: str, link: str | None, bandwidth: float) -> None:
    given = settings(mtbf="2h", kv_replication=where, kv_copy_link=link, replication_lag=3)
    deployment, _ = build_deployment(given)
    failures = deployment.failures
    assert failures is not None
    assert failures.mtbf == 7200 * PS_PER_S
    assert failures.copies is not None
    assert failures.copies.bandwidth == bandwidth
    assert failures.lag == 3
    assert failures.on_neighbour == (where == "neighbour")
    assert build_deployment(RunSettings(**resolved(given, deployment)))[0] == deployment


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"detect": "5s"}, "--detect is for engines that fail: give --fail-at TIME:ENGINE or"),
        ({"reroute": False}, "--reroute is for engines that fail"),
        ({"fail_at": "120s"}, "--fail-at '120s' is not understood: write 120s:0,5m:1, each"),
        ({"fail_at": "120s:0,"}, "--fail-at '' is not understood"),
        ({"fail_at": "120s:-1"}, "--fail-at '120s:-1' is not understood"),
        ({"fail_at": "soon:0"}, "--fail-at: 'soon' is not a duration"),
        ({"fail_at": "-5s:0"}, "--fail-at -5s: must be at least 0s"),
        ({"mtbf": "0s"}, "--mtbf 0s: must be above 0s"),
        ({"mtbf": "nan"}, "--mtbf: 'nan' is not a duration"),
        ({"mtbf": "1h", "restart": "200d"}, "--restart 200d: must be at least 0s, and at most"),
        (
            {"mtbf": "1h", "restart": "241h"},
            "--restart 241h: must be at least 0s, and at most 10 days",
        ),
        ({"mtbf": "101d"}, "--mtbf 101d: must be above 0s, and at most 100 days"),
        ({"mtbf": "1h", "restart": "2 weeks"}, "--restart: '2 weeks' is not a duration"),
        ({"mtbf": "1h", "kv_replication": "hosts"}, "--kv-replication hosts: did you mean host"),
        ({"mtbf": "1h", "kv_copy_link": "PCIe4"}, "--kv-copy-link is for copies of the KV"),
        ({"mtbf": "1h", "replication_lag": 2}, "--replication-lag is for copies of the KV"),
    ],
)
def test_what_makes_no_sense_is_told(changed: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError) as error:
        build_deployment(settings(**changed))
    assert told in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--fail-at", "1s:2"], "engine 2 is to fail at 1 s, but engines are numbered from 0 to 1"),
        (
            ["--fail-at=1s:0", "--decode-replicas=1", "--kv-replication=neighbour"],
            "copies of the KV on a neighbour need two engines: give --decode-replicas 2 or more",
        ),
        (["--fail-at", "1s:3", "--decode-replicas", "1"], "are numbered from 0 to 2"),
        (
            ["--fail-at", "1s:0", "--replicas=1", "--kv-replication=neighbour"],
            "copies of the KV on a neighbour need two engines: give --replicas 2 or more, or",
        ),
        (["--mtbf", "1ms"], "--mtbf 0.001s: engines may fail more than 100,000 times before"),
    ],
)
def test_what_cannot_be_simulated_is_one_line(
    flags: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [f"--{name}={value}" for name, value in BASE.items()]
    with pytest.raises(SystemExit) as done:
        main(["simulate", *asked, "--requests=20", "--rps=2", "--no-intervals", *flags])
    assert done.value.code == 2
    errors = capsys.readouterr().err.strip()
    assert told in errors
    assert len(errors.splitlines()) == 1


def simulated(*flags: str) -> None:
    with pytest.raises(SystemExit) as done:
        main(["simulate", "--no-intervals", *flags])
    assert done.value.code == 0


def test_a_run_with_failures_says_what_they_cost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [f"--{name}={value}" for name, value in BASE.items()]
    asked += ["--requests=200", "--rps=8", "--no-report", f"--out={tmp_path}"]
    simulated(*asked, "--fail-at=12s:0,13s:0", "--restart=5s")
    told = capsys.readouterr().out
    assert "Failures" in told
    assert "began anew" in told
    content = json.loads((tmp_path / "summary.json").read_text())
    failures = content["metrics"]["failures"]
    assert failures["outages"] == [
        {"engine": 0, "failed_s": 12.0, "back_s": 20.0, "restart_s": 5.0}
    ]
    assert (failures["count"], failures["downtime_s"], failures["restart_s"]) == (1, 8.0, 5.0)
    assert failures["begun_anew"] > 0
    assert failures["lost_output_tokens"] > 0
    assert failures["added_latency_s"]["max"] > 8.0
    assert content["metrics"]["completed"] == 200

    from servetwin.results import read_run

    retries = read_run(tmp_path).requests.retries
    assert retries is not None
    assert int((retries > 0).sum()) == failures["begun_anew"]
    table = read_run(tmp_path).requests
    assert table.decode_outage is not None
    assert table.decode_outage[retries > 0].min() > 5e12
    assert "an outage" in " ".join(told.split())
    # The saved run is the same once more.
    saved = tmp_path / "summary.json"
    simulated(f"--config={saved}", "--json")
    again = json.loads(capsys.readouterr().out)
    assert again["metrics"] == content["metrics"]
    assert again["config"] == content["config"]
