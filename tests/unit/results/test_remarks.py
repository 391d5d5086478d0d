"""What a summary says of results that are easy to misread."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from servetwin.results import summary
from servetwin.types import RequestTable, RunResult, Status
from servetwin.units import NOT_YET, PS_PER_S
from support.runs import request_table, synthetic_run


def served(rps: float, served_rps: float, requests: int = 100) -> RequestTable:
    """One at a time, in order: a request takes 1/served_rps seconds."""
    arrival = (np.arange(requests) * (PS_PER_S / rps)).astype(np.int64)
    finish = np.empty_like(arrival)
    free, service = 0, int(PS_PER_S / served_rps)
    for i, at in enumerate(arrival.tolist()):
        finish[i] = free = max(free, at) + service
    return request_table(
        arrival=arrival, first_scheduled=finish - service, first_token=finish, finish=finish
    )


def notes(table: RequestTable, **workload: Any) -> list[str]:
    run: RunResult = synthetic_run(requests=table, workload=workload, notes=())
    return list(summary(run)["notes"])


def test_overload_is_told_with_both_rates() -> None:
    (note,) = notes(served(3.0, 0.43))
    assert note == (
        "Overload: 3 requests/s arrive and 0.43 complete. The queue grows as long as they arrive, "
        "so that latencies depend on the length of the trace."
    )


def by_chance(rho: float, seed: int, requests: int = 4000) -> RequestTable:
    """The same with arrivals by chance: `rho` of what can be served."""
    table = served(1.0, 1.0, requests)
    drawn = np.random.default_rng(seed)
    arrival = np.cumsum(drawn.exponential(PS_PER_S / rho, requests)).astype(np.int64)
    finish, free = np.empty_like(arrival), 0
    for i, at in enumerate(arrival.tolist()):
        finish[i] = free = max(free, at) + PS_PER_S
    return replace(
        table, arrival=arrival, first_scheduled=finish - PS_PER_S, first_token=finish, finish=finish
    )


@pytest.mark.parametrize("seed", range(5))
def test_a_few_per_cent_of_overload_are_told_in_a_long_run(seed: int) -> None:
    assert notes(by_chance(1.08, seed))[0].startswith("Overload: ")
    for rho, requests in ((0.95, 4000), (0.8, 4000), (0.8, 200), (0.5, 60)):
        assert notes(by_chance(rho, seed, requests)) == [], (rho, requests)


def test_requests_too_long_for_the_engine_are_told() -> None:
    table = request_table(
        arrival=[0, 5, 7], status=[Status.REJECTED] * 3, input_tokens=np.array([90, 90, 95])
    )
    run = synthetic_run(requests=table, config={"max_model_len": 50}, notes=(), workload={})
    assert summary(run)["notes"][0] == (
        "All 3 requests are rejected: they are 91 to 96 tokens long, and the engine accepts 50 "
        "(max-model-len)."
    )


def test_a_load_that_lasts_is_no_overload() -> None:
    assert notes(served(3.0, 3.1)) == []
    assert notes(served(3.0, 0.43, requests=12)) == []  # too few to tell


def test_a_long_last_request_is_no_overload() -> None:
    table = served(3.0, 3.1)
    table.finish[-1] += 100 * PS_PER_S
    assert notes(table) == []


def test_arrivals_at_once_are_told() -> None:
    (note,) = notes(served(np.inf, 1.0, requests=50))
    assert note.startswith("All 50 requests arrive at once: ")
    assert notes(served(np.inf, 1.0, requests=1)) == []


def test_a_closed_loop_sets_its_own_pace() -> None:
    assert notes(served(np.inf, 1.0), follow_ups=99) == []
    assert notes(served(3.0, 0.43), follow_ups=1) == []


def test_nothing_completed() -> None:
    table = request_table(arrival=[0, 5, NOT_YET], status=[Status.REJECTED] * 3)
    assert notes(table) == ["Latencies leave out requests that did not complete: 3 rejected."]
