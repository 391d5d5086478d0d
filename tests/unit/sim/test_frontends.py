"""Requests behind an HTTP server and a tokeniser."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servetwin.catalog import find_accelerator, find_link, find_model
from servetwin.cost import derive, resolve_settings
from servetwin.errors import InputError
from servetwin.results.metrics import compute
from servetwin.results.tables import read_requests, write_requests
from servetwin.sim import SimOptions, simulate
from servetwin.sim.frontends import delayed
from servetwin.types import Deployment, Frontend, Workload
from servetwin.units import NOT_YET, PS_PER_MS, PS_PER_S, PS_PER_US

QUIET = SimOptions(snapshot_interval=0, token_gaps=False)


def test_requests_do_not_overtake_each_other() -> None:
    frontend = Frontend(request=100, token=10)
    work = workload([0, 0, 250, 5000], [50, 20, 30, 30])
    late, delay = delayed(frontend, work)
    assert late.arrival.tolist() == [600, 600, 650, 5400]
    assert delay.tolist() == [600, 600, 400, 400]


def test_a_turn_is_later_by_its_own_time() -> None:
    first = workload([0, 0], [50, 20])
    turns = replace(
        first,
        arrival=np.array([0, NOT_YET]),
        parent=np.array([-1, 0], np.int32),
        think_time=np.array([0, 7]),
    )
    late, delay = delayed(Frontend(request=100, token=10), turns)
    assert late.arrival.tolist() == [600, NOT_YET]
    assert late.think_time is not None
    assert late.think_time.tolist() == [0, 307]
    assert delay.tolist() == [600, 300]


@given(
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 500)), min_size=1, max_size=30),
    st.integers(0, 2000),
    st.integers(0, 50),
)
def test_each_is_as_late_as_the_latest_before_it(
    drawn: list[tuple[int, int]], request: int, token: int
) -> None:
    drawn.sort()
    work = workload([a for a, _ in drawn], [n for _, n in drawn])
    latest, expected = 0, []
    for arrival, tokens in drawn:
        latest = max(latest, arrival + request + token * tokens)
        expected.append(latest)
    assert delayed(Frontend(request, token), work)[0].arrival.tolist() == expected


def test_a_fleet_has_as_many_frontends_as_engines() -> None:
    """Sixteen engines at sixteen times the rate answer as soon as one does."""
    one = replace(deployment(), frontend=Frontend(10 * PS_PER_MS, 4 * PS_PER_US))
    many = replace(one, replicas=16)
    cost = derive(one, 2000)
    ttft = []
    for target, gap in ((one, 16 * 40), (many, 40)):
        count = 20 * target.replicas
        work = workload([i * gap * PS_PER_MS for i in range(count)], [4000] * count)
        table = simulate(target, work, cost, QUIET).requests
        ttft.append(float((table.first_token - table.arrival).mean()))
    assert ttft[1] == pytest.approx(ttft[0], rel=1e-9)


def test_ttft_has_the_frontend_in_it_and_arrivals_do_not() -> None:
    work = workload([0, 10**12], [64, 64])
    target = deployment()
    cost = derive(target, 100)
    plain = simulate(target, work, cost, QUIET).requests
    frontend = Frontend(request=10 * PS_PER_MS, token=4 * PS_PER_US)
    found = simulate(replace(target, frontend=frontend), work, cost, QUIET).requests
    late = 10 * PS_PER_MS + 64 * 4 * PS_PER_US
    assert found.arrival.tolist() == work.arrival.tolist()
    assert (found.first_token - plain.first_token).tolist() == [late, late]
    assert (found.finish - plain.finish).tolist() == [late, late]
    assert found.frontend_time is not None
    assert found.frontend_time.tolist() == [late, late]
    assert plain.frontend_time is None


def test_it_is_a_part_of_latencies(tmp_path: Path) -> None:
    target = replace(deployment(), frontend=Frontend(10 * PS_PER_MS, 4 * PS_PER_US))
    run = simulate(target, workload([0, 0, 0], [64, 900, 500]), derive(target, 100), QUIET)
    assert run.requests.frontend_time is not None
    mean = float(run.requests.frontend_time.mean()) / PS_PER_S
    metrics = compute(run)
    parts = metrics["attribution"]
    for name, whole in (("e2e", "e2e_latency_s"), ("ttft", "ttft_ms")):
        assert parts[name]["all"]["frontend"] == pytest.approx(mean)
        unit = 1e3 if whole.endswith("_ms") else 1.0
        assert sum(parts[name]["all"].values()) == pytest.approx(metrics[whole]["mean"] / unit)
        assert min(parts[name]["all"].values()) >= 0.0
    write_requests(run, tmp_path / "requests.parquet")
    again, _ = read_requests(tmp_path / "requests.parquet")
    assert again.frontend_time is not None
    assert again.frontend_time.tolist() == run.requests.frontend_time.tolist()


@pytest.mark.parametrize("frontend", [Frontend(0, 10**17), Frontend(10**19 - 1, 0)])
def test_one_that_takes_for_ever_is_refused(frontend: Frontend) -> None:
    with pytest.raises(InputError, match="the front end holds requests back"):
        delayed(frontend, workload([0], [100]))


def deployment() -> Deployment:
    model, gpu = find_model("meta-llama/Llama-3.1-8B"), find_accelerator("H100-SXM")
    return Deployment(model, gpu, find_link(gpu.link), settings=resolve_settings(model, gpu))


def workload(arrival: list[int], tokens: list[int]) -> Workload:
    return Workload(
        np.array(arrival, np.int64),
        np.array(tokens, np.int32),
        np.full(len(tokens), 8, np.int32),
    )
