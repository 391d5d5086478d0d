"""Base, limit and knee of load curves whose points are known."""

from __future__ import annotations

import csv
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from servetwin.cli.build import prepare
from servetwin.cli.build_workload import build_workload
from servetwin.cli.settings import RunSettings
from servetwin.errors import InputError
from servetwin.results import LoadPoint
from servetwin.sim import SimOptions
from servetwin.studies.load_curve import LoadCurve, Setup, describe, measure, write_curve


def point(rps: float, p99_ttft: float, p99_e2e: float = 1.0) -> LoadPoint:
    return LoadPoint(
        offered_rps=rps,
        ttft_p50_ms=1.0,
        ttft_p99_ms=p99_ttft,
        tpot_p50_ms=1.0,
        tpot_p99_ms=1.0,
        e2e_mean_s=p99_e2e / 2,
        e2e_p50_s=p99_e2e / 2,
        e2e_p99_s=p99_e2e,
        completed_rps=rps,
        throughput_token_s=rps,
    )


def test_the_base_is_the_first_rate_with_enough_requests() -> None:
    curve = LoadCurve((point(1, 9), point(2, 10), point(4, 10)), (99, 100, 5))
    assert curve.base is curve.points[1]
    assert LoadCurve(curve.points, (1, 2, 3)).base is None
    assert LoadCurve(curve.points, (1, 2, 3)).limit is None


def test_the_limit_is_passed_by_more_than_half() -> None:
    enough = (100, 100, 100)
    just_within = LoadCurve((point(1, 10), point(2, 15), point(4, 15)), enough)
    assert just_within.limit is None
    by_ttft = LoadCurve((point(1, 10), point(2, 15), point(4, 15.1)), enough)
    assert by_ttft.limit is by_ttft.points[2]
    by_e2e = LoadCurve((point(1, 10), point(2, 10, 1.6), point(4, 99)), enough)
    assert by_e2e.limit is by_e2e.points[1]


ABOUT = {"provenance": {}, "config": {"model": "gpt2"}, "workload": {}, "notes": ["mine"]}


def setup(**values: Any) -> Setup:
    settings = RunSettings(
        model="openai-community/gpt2", gpu="A10", workload="sharegpt", isl="100", osl="20", **values
    )
    prepared = prepare(settings.model_copy(update={"rps": 1.0}))

    def workload_at(rate: float) -> Any:
        return build_workload(settings.model_copy(update={"rps": rate}))

    options = SimOptions(snapshot_interval=0)
    return Setup(prepared.deployment, prepared.cost, workload_at, options)


def test_rates_are_measured_in_order_and_once(tmp_path: Path) -> None:
    told: list[int] = []
    threads: set[int] = set()

    def done(count: int) -> None:
        told.append(count)
        threads.add(threading.get_ident())

    curve = measure(setup(requests=120), [4.0, 1.0, 2.0, 4.0], done)
    assert [item.offered_rps for item in curve.points] == [1.0, 2.0, 4.0]
    assert curve.completed == (120, 120, 120)
    assert told == [1, 2, 3]
    assert curve.missing == ()
    assert threads == {threading.get_ident()}
    content = describe(curve, ABOUT)
    write_curve(curve, content, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "load_curve.json").read_text()) == content
    assert "mine" in content["notes"]
    with (tmp_path / "out" / "load_curve.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["completed"] for row in rows] == ["120"] * 3


def test_threads_give_what_one_thread_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    many = measure(setup(requests=200), [1.0, 50.0, 100.0, 200.0])
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    assert measure(setup(requests=200), [1.0, 50.0, 100.0, 200.0]) == many


def test_a_failure_at_one_rate_is_told() -> None:
    whole = setup(requests=10)

    def workload_at(rate: float) -> Any:
        if rate == 2.0:
            raise InputError("no such rate")
        return whole.workload_at(rate)

    broken = Setup(whole.deployment, whole.cost, workload_at, whole.options)
    with pytest.raises(InputError, match="no such rate"):
        measure(broken, [1.0, 2.0, 3.0])


def test_ctrl_c_keeps_the_rates_that_have_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    whole = setup(requests=10)

    def workload_at(rate: float) -> Any:
        if rate == interrupted:
            raise KeyboardInterrupt
        return whole.workload_at(rate)

    broken = Setup(whole.deployment, whole.cost, workload_at, whole.options)
    interrupted = 3.0
    curve = measure(broken, [4.0, 3.0, 1.0, 2.0])
    assert [item.offered_rps for item in curve.points] == [1.0, 2.0]
    assert (len(curve.completed), curve.missing) == (2, (3.0, 4.0))
    assert describe(curve, ABOUT)["missing_rps"] == [3.0, 4.0]
    assert describe(curve, ABOUT)["notes"][-1] == (
        "Interrupted after 2 of 4 rates: 3, 4 are missing."
    )
    interrupted = 1.0
    with pytest.raises(KeyboardInterrupt):
        measure(broken, [1.0, 2.0])
