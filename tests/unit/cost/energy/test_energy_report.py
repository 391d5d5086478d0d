"""Energy of a run: what must add up, and what must not depend on how time is cut."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from servetwin.catalog import find_accelerator, find_link, find_model
from servetwin.cost import derive, resolve_settings
from servetwin.cost.energy import (
    EIGHT,
    EnergyOptions,
    HourlySeries,
    MetaModel,
    Rates,
    device_power,
    energy_of,
)
from servetwin.errors import InputError
from servetwin.sim import SimOptions, simulate
from servetwin.types import Deployment, Parallelism, Workload
from servetwin.units import PS_PER_S


def deployed(gpu: str = "H100-SXM", replicas: int = 1, **parallel: int) -> Deployment:
    model, accelerator = find_model("meta-llama/Llama-3.1-8B"), find_accelerator(gpu)
    return Deployment(
        model,
        accelerator,
        find_link(accelerator.link),
        Parallelism(**parallel),
        resolve_settings(model, accelerator),
        replicas=replicas,
    )


def workload(requests: int = 20, every: float = 0.2, output: int = 150) -> Workload:
    return Workload(
        arrival=(np.arange(requests) * every * PS_PER_S).astype(np.int64),
        input_tokens=np.full(requests, 300, np.int32),
        output_tokens=np.full(requests, output, np.int32),
    )


def simulated(deployment: Deployment, load: Workload, interval: float = 0.5):
    cost = derive(deployment, 1000)
    options = SimOptions(engine="reference", snapshot_interval=round(interval * PS_PER_S))
    return simulate(deployment, load, cost, options), deployment, cost


@pytest.fixture(scope="module")
def plain():
    return simulated(deployed(), workload())


def test_totals_are_the_sum_of_the_rows(plain):
    run, deployment, cost = plain
    report = energy_of(run, deployment, cost)
    ends = run.requests.finish.max() / PS_PER_S
    lengths = np.full(report.power_w.size, 0.5)
    lengths[-1] = ends - 0.5 * (lengths.size - 1)
    assert report.joules == pytest.approx(float(report.power_w @ lengths))
    assert report.idle_joules == pytest.approx(device_power(deployment.accelerator).idle * ends)
    assert 0 < report.idle_joules < report.joules
    assert report.output_tokens == 20 * 150
    assert report.footprint.wh * 3600 == pytest.approx(report.joules)
    assert report.footprint.requests == 20


def test_watts_stay_between_idle_and_limit_and_in_the_band(plain):
    run, deployment, cost = plain
    report = energy_of(run, deployment, cost)
    device = device_power(deployment.accelerator)
    slack = 1e-9
    for column in (report.low_w, report.power_w, report.high_w):
        assert np.all(column >= device.idle - slack)
        assert np.all(column <= device.maximum + slack)
    assert np.all(report.low_w <= report.power_w + slack)
    assert np.all(report.power_w <= report.high_w + slack)
    assert np.all(report.p10_w <= report.p90_w + slack)
    assert min(report.joules_by_model.values()) <= report.joules
    assert report.joules <= max(report.joules_by_model.values())
    assert list(report.joules_by_model) == [model.name for model in EIGHT]


def test_energy_hardly_depends_on_the_interval():
    """Iterations and contexts are estimated from an interval; a finer one knows better."""
    joules = {
        interval: energy_of(*simulated(deployed(), workload(), interval)).joules
        for interval in (0.05, 0.25, 1.0)
    }
    assert joules[0.25] == pytest.approx(joules[0.05], rel=0.03)
    assert joules[1.0] == pytest.approx(joules[0.05], rel=0.04)


def test_a_run_that_waits_draws_idle_watts():
    """Two requests ten seconds apart."""
    run, deployment, cost = simulated(deployed(), workload(requests=2, every=10.0))
    report = energy_of(run, deployment, cost)
    idle = device_power(deployment.accelerator).idle
    waiting = (run.timeline.t > 4 * PS_PER_S) & (run.timeline.t <= 10 * PS_PER_S)
    assert waiting.sum() == 12
    assert np.all(report.power_w[waiting] == idle)
    assert np.all(report.duty[waiting] == 0)
    assert report.power_w.max() > 3 * idle


def test_an_a6000_stays_awake_for_a_while():
    run, deployment, cost = simulated(deployed("RTX-A6000"), workload(requests=2, every=60.0))
    device = device_power(deployment.accelerator)
    assert device.idle < device.standby
    report = energy_of(run, deployment, cost)
    worked = int(np.argmax(report.duty == 0)) - 1
    steps = int(device.standby_seconds / 0.5)
    assert report.power_w[worked + 2] == pytest.approx(device.standby)
    assert report.power_w[worked + steps + 2] == pytest.approx(device.idle)


def test_every_replica_and_device_counts():
    load = workload(requests=16)
    one = energy_of(*simulated(deployed(), load))
    two = energy_of(*simulated(deployed(replicas=2), load))
    assert two.power_w.size == 2 * (two.power_w.size // 2)
    idle = device_power(find_accelerator("H100-SXM")).idle
    # An equal share each: at no time less than two idle devices, and less than twice the load.
    assert np.all(two.power_w[0::2] + two.power_w[1::2] >= 2 * idle)
    assert one.joules < two.joules < 2 * one.joules
    tensor = energy_of(*simulated(deployed(tp=2), load))
    assert tensor.idle_joules / tensor.footprint.idle_wh == pytest.approx(3600)
    assert tensor.power_w.min() >= 2 * idle


def test_rates_by_the_hour_and_constant(plain):
    run, deployment, cost = plain
    constant = EnergyOptions(Rates(pue=1.5, carbon=400.0, gpu_price=3.6, electricity_price=0.2))
    series = HourlySeries((0.0,), (400.0,))
    by_hour = EnergyOptions(replace(constant.rates, carbon=series))
    one, two = energy_of(run, deployment, cost, constant), energy_of(run, deployment, cost, by_hour)
    kwh = one.joules * 1.5 / 3.6e6
    hours = run.requests.finish.max() / PS_PER_S / 3600
    assert one.footprint.carbon_g == pytest.approx(400 * kwh)
    assert two.footprint.carbon_g == pytest.approx(one.footprint.carbon_g)
    assert one.footprint.usd == pytest.approx(3.6 * hours + 0.2 * kwh)
    per = one.footprint.describe()
    assert per["per_request"]["wh"] == pytest.approx(kwh * 1e3 / 20)
    assert per["per_million_input_tokens"]["wh"] == pytest.approx(kwh * 1e9 / 6000)
    assert per["per_million_tokens"]["usd"] == pytest.approx(one.footprint.usd * 1e6 / 9000)


def test_the_catalog_gives_the_price_or_nobody_does(plain):
    run, deployment, cost = plain
    hours = run.requests.finish.max() / PS_PER_S / 3600
    known = energy_of(run, deployment, cost).footprint
    assert known.usd == pytest.approx(deployment.accelerator.price_per_hour * hours)
    assert known.carbon_g is None
    free = replace(deployment, accelerator=replace(deployment.accelerator, price_per_hour=None))
    report = energy_of(run, free, cost)
    assert report.footprint.usd is None
    assert report.summary()["cost"] == {"usd": None, "usd_per_million_output_tokens": None}


def test_electricity_alone_is_no_cost_of_a_gpu_without_price(plain):
    run, deployment, cost = plain
    free = replace(deployment, accelerator=replace(deployment.accelerator, price_per_hour=None))
    report = energy_of(run, free, cost, EnergyOptions(Rates(electricity_price=0.2)))
    assert report.footprint.usd is None
    assert [note for note in report.notes if "price of H100-SXM; give --price" in note]
    asked = energy_of(run, free, cost, EnergyOptions(Rates(gpu_price=0.0, electricity_price=0.2)))
    assert asked.footprint.usd == pytest.approx(0.2 * asked.joules / 3.6e6)
    assert not [note for note in asked.notes if "no cost" in note]


def test_the_summary_is_json_with_the_keys_of_the_schema(plain):
    found = energy_of(*plain).summary()
    assert set(found) == {"energy", "carbon_g", "cost"}
    assert {"total_j", "j_per_output_token"} <= set(found["energy"])
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    low, high = found["energy"]["band_j"]
    assert low <= found["energy"]["total_j"] <= high


def test_a_single_power_model_has_no_band(plain):
    report = energy_of(*plain, EnergyOptions(meta=MetaModel(EIGHT[1:2], "mean")))
    assert np.array_equal(report.low_w, report.high_w)
    assert np.allclose(report.low_w, report.power_w)


def test_a_timeline_without_iterations_has_them_estimated(plain):
    run, deployment, cost = plain
    assert not any("estimated" in note for note in energy_of(*plain).notes)
    bare = replace(run.timeline, iterations=None, context_tokens=None)
    report = energy_of(replace(run, timeline=bare), deployment, cost)
    assert any("estimated" in note for note in report.notes)
    assert report.joules == pytest.approx(energy_of(*plain).joules, rel=0.03)


def test_work_longer_than_its_interval_began_in_those_before():
    """An iteration is counted in the row where it ends, and 50 ms are shorter than one here."""
    prompt = Workload(np.zeros(1, np.int64), np.array([60_000], np.int32), np.array([2], np.int32))
    run, deployment, cost = simulated(deployed(), prompt, 0.05)
    report = energy_of(run, deployment, cost)
    assert run.timeline.iterations[1:10].max() <= 1
    assert report.duty[:10].min() > 0.99


def test_a_run_without_a_timeline_is_told_what_to_do(plain):
    run, deployment, cost = plain
    with pytest.raises(InputError, match="snapshot interval"):
        energy_of(replace(run, timeline=None), deployment, cost)


@pytest.mark.parametrize(
    "rates",
    [
        {"pue": 0.9},
        {"pue": float("nan")},
        {"carbon": -1.0},
        {"gpu_price": float("inf")},
        {"pue": 1e308},
    ],
)
def test_impossible_rates(rates):
    with pytest.raises(InputError):
        Rates(**rates)
