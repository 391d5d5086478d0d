"""Metrics against their definitions, written down a second time with plain numpy."""

import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servetwin.results import Slo, compute
from servetwin.results.metrics import describe
from servetwin.types import RequestTable, RunResult, Status
from servetwin.units import NOT_YET, PS_PER_MS, PS_PER_S
from support.runs import Shape, request_table, synthetic_run

PERCENTS = {"p50": 50, "p90": 90, "p95": 95, "p99": 99, "max": 100}


def run_of(table: RequestTable, **values: object) -> RunResult:
    empty: dict[str, object] = {"config": {}, "provenance": {}, "workload": {}}
    return RunResult(kind="measured", requests=table, **(empty | values))  # type: ignore[arg-type]


@given(st.lists(st.integers(0, 10**18), min_size=1, max_size=300))
def test_percentiles_equal_those_of_numpy(values: list[int]) -> None:
    column = np.array(values, dtype=np.float64)
    expected = {name: np.percentile(column, p) / 1000 for name, p in PERCENTS.items()}
    found = describe(column.copy(), 1000)
    assert found.pop("mean") == pytest.approx(column.mean() / 1000, rel=1e-12)
    assert found == expected


def test_each_latency_is_what_its_definition_says() -> None:
    run = synthetic_run(Shape(requests=500))
    table = run.requests
    ok = table.status == Status.OK
    several = ok & (table.output_tokens > 1)
    latencies = {
        "ttft_ms": (table.first_token - table.arrival)[ok] / PS_PER_MS,
        "queue_ms": (table.first_scheduled - table.arrival)[ok] / PS_PER_MS,
        "e2e_latency_s": (table.finish - table.arrival)[ok] / PS_PER_S,
        "tpot_ms": (table.finish - table.first_token)[several]
        / (table.output_tokens[several] - 1)
        / PS_PER_MS,
    }
    metrics = compute(run)
    for name, values in latencies.items():
        assert metrics[name]["mean"] == pytest.approx(values.mean())
        for percentile, percent in PERCENTS.items():
            assert metrics[name][percentile] == pytest.approx(np.percentile(values, percent))
    makespan = (table.finish[ok].max() - table.arrival.min()) / PS_PER_S
    assert metrics["makespan_s"] == makespan
    assert metrics["throughput_token_s"] == table.output_tokens[ok].sum() / makespan
    assert metrics["request_throughput_req_s"] == ok.sum() / makespan
    assert metrics["itl_ms"]["p50"] == pytest.approx(metrics["tpot_ms"]["p50"], rel=0.1)


def test_one_output_token_has_no_tpot() -> None:
    table = request_table(arrival=[0, 0], first_token=[5, 5], finish=[5, 25], output_tokens=[1, 3])
    assert compute(run_of(table))["tpot_ms"]["mean"] == 10 / PS_PER_MS


def test_outcomes_are_counted_and_only_completed_requests_are_timed() -> None:
    table = request_table(
        arrival=[0] * 6,
        first_token=[10**9] * 6,
        finish=[2 * 10**9] * 5 + [NOT_YET],
        output_tokens=[7] * 6,
        preemptions=[1] * 6,
        status=list(Status),
    )
    metrics = compute(run_of(table), Slo(ttft=10**9))
    assert metrics["requests"] == 6
    assert metrics["completed"] == metrics["rejected"] == metrics["unfinished"] == 1
    assert metrics["failed"] == 3
    assert metrics["preemptions"] == 6
    assert metrics["output_tokens"] == 7
    assert metrics["goodput_req_s"] == metrics["request_throughput_req_s"] == 500
    assert metrics["slo"]["attained"] == {"ttft": 1 / 6, "all": 1 / 6}
    assert metrics["slo"]["met"] is False


def test_the_slo_is_met_from_the_share_on() -> None:
    arrival = np.zeros(100, np.int64)
    late = np.where(np.arange(100) < 99, 5, 6)
    run = run_of(request_table(arrival=arrival, first_token=late, finish=late))
    assert compute(run, Slo(ttft=5))["slo"]["met"] is True
    assert compute(run, Slo(ttft=5, share=0.991))["slo"]["met"] is False


@pytest.mark.parametrize(
    "table",
    [
        request_table(arrival=np.empty(0, np.int64)),
        request_table(arrival=[0, 5], status=[Status.REJECTED, Status.ERROR]),
        request_table(arrival=[-1, -1], status=[Status.UNFINISHED] * 2),
        request_table(arrival=[3], first_token=[3], finish=[3]),
    ],
)
def test_what_cannot_be_known_is_null(table: RequestTable) -> None:
    metrics = compute(run_of(table), Slo(ttft=1))
    assert metrics["throughput_token_s"] is None
    assert metrics["goodput_req_s"] is None
    assert metrics["itl_ms"]["p99"] is None
    assert metrics["tpot_ms"]["mean"] is None
    json.dumps(metrics, allow_nan=False)


def test_without_objectives_there_is_no_goodput() -> None:
    metrics = compute(synthetic_run())
    assert metrics["goodput_req_s"] is None
    assert metrics["slo"] is None


def test_the_hit_rate_is_over_the_input_tokens_of_completed_requests() -> None:
    table = request_table(
        arrival=[0, 0, 0],
        first_token=[1, 1, 1],
        finish=[2, 2, 2],
        input_tokens=[100, 300, 999],
        cached_tokens=[50, 50, 999],
        status=[Status.OK, Status.OK, Status.ERROR],
    )
    assert compute(run_of(table))["kv_cache"]["prefix_hit_rate"] == 0.25


def test_memory_stays_near_one_float_a_request() -> None:
    n = 1_000_000
    arrival = np.arange(n)
    run = run_of(request_table(arrival=arrival, first_token=arrival + 5, finish=arrival + 9))
    tracemalloc.start()
    compute(run, Slo(ttft=5, tpot=1, e2e=9))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * n + 30_000_000
