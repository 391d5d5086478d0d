"""From a FailureModel to failures of a run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from servetwin.catalog import find_accelerator, find_link, find_model
from servetwin.cost import derive, resolve_settings
from servetwin.errors import InputError
from servetwin.sim import SimOptions, simulate
from servetwin.sim.failing import usual_restart
from servetwin.types import Deployment, FailureModel, RunResult, Workload
from servetwin.units import PS_PER_S

MODEL, GPU = find_model("Llama-3.1-8B"), find_accelerator("A100-80GB")
DEPLOYMENT = Deployment(
    MODEL,
    GPU,
    find_link(GPU.link),
    settings=resolve_settings(MODEL, GPU, max_model_len=4096),
    replicas=2,
)
LOAD = Workload(
    arrival=np.arange(100, dtype=np.int64) * PS_PER_S // 2,
    input_tokens=np.full(100, 500, np.int32),
    output_tokens=np.full(100, 400, np.int32),
    name="steady",
    source="steady",
)
COST = derive(DEPLOYMENT, 700)


def run(model: FailureModel | None, seed: int = 0) -> RunResult:
    target = replace(DEPLOYMENT, failures=model)
    return simulate(target, LOAD, COST, SimOptions(seed=seed, snapshot_interval=0))


def outages(result: RunResult) -> list[tuple[int, float]]:
    assert result.failures is not None
    return [(each["engine"], each["failed_s"]) for each in result.failures["outages"]]


def test_drawn_failures_are_those_of_the_seed() -> None:
    model = FailureModel(mtbf=20 * PS_PER_S, restart=2 * PS_PER_S)
    first = outages(run(model))
    assert first == outages(run(model))
    assert first != outages(run(model, seed=1))
    assert {engine for engine, _ in first} == {0, 1}
    assert 2 <= len(first) <= 20


def test_failures_go_on_to_the_end_of_a_run_that_they_make_longer() -> None:
    result = run(
        FailureModel(
            at=((10 * PS_PER_S, 0),),
            mtbf=500 * PS_PER_S,
            restart=4000 * PS_PER_S,
            reroute=False,
        )
    )
    ends = result.requests.finish.max() / PS_PER_S
    assert ends > 3600
    times = [time for _, time in outages(result)]
    assert times == sorted(times)
    assert len(times) > 1
    assert 10.0 in times
    assert all(time <= ends for time in times)


def test_the_time_to_restart_follows_from_the_weights() -> None:
    result = run(FailureModel(at=((10 * PS_PER_S, 0),)))
    assert result.failures is not None
    restart = usual_restart(COST.memory)
    assert result.failures["restart_s"] == restart / PS_PER_S
    assert result.failures["downtime_s"] == pytest.approx(3 + restart / PS_PER_S)
    assert restart / PS_PER_S == pytest.approx(20 + 16.06 / 2, rel=0.01)


def test_copies_save_work_and_time() -> None:
    model = FailureModel(at=((25 * PS_PER_S, 0),), restart=5 * PS_PER_S, reroute=False)
    anew = run(model).failures
    copied = run(replace(model, copies=find_link("PCIe4"))).failures
    assert anew is not None
    assert copied is not None
    assert copied["begun_anew"] == copied["lost_output_tokens"] == 0
    assert copied["interrupted"] == anew["interrupted"] == 1
    assert anew["begun_anew"] > 0
    assert copied["added_latency_s"]["mean"] < anew["added_latency_s"]["mean"]
    # The KV has to come back, and the last iteration is computed twice.
    assert anew["longest_s"] == 8.0
    assert 8.0 < copied["longest_s"] < 9.0


def test_a_link_without_bandwidth_is_one_line() -> None:
    slow = replace(find_link("PCIe4"), bandwidth=1.0)
    with pytest.raises(InputError, match="the link over which copies"):
        run(FailureModel(at=((0, 0),), copies=slow))


@pytest.mark.parametrize(("interval", "when"), [(PS_PER_S, "busiest 1 s"), (0, "on average")])
def test_a_link_that_cannot_carry_the_copies_is_a_note(interval: int, when: str) -> None:
    def notes(bandwidth: float) -> list[str]:
        link = replace(find_link("PCIe4"), bandwidth=bandwidth)
        target = replace(DEPLOYMENT, failures=FailureModel(at=((0, 0),), copies=link))
        result = simulate(target, LOAD, COST, SimOptions(snapshot_interval=interval))
        return [note for note in result.notes if "copies of it" in note]

    assert notes(31.5e9) == []
    # Two requests of 900 tokens arrive each second, of 131,072 bytes: 118 MB/s for each engine.
    (told,) = notes(0.05e9)
    assert when in told
    assert "go over 0.05 GB/s" in told


def test_nothing_of_failures_where_none_can_be() -> None:
    result = run(None)
    assert result.failures is None
    assert result.requests.retries is None


def test_a_model_has_sensible_times() -> None:
    for wrong in (
        {"at": ((-1, 0),)},
        {"at": ((0, -1),)},
        {"mtbf": 0},
        {"detect": -1},
        {"restart": -1},
        {"lag": -1},
        {"detect": 11 * 86_400 * PS_PER_S},
    ):
        with pytest.raises(ValueError, match=r"failures|mtbf|negative|10 days"):
            FailureModel(**wrong)
