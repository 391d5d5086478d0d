"""Loads and energy of lone requests, against sums that are written out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from servetwin.catalog import find_accelerator
from servetwin.cost.energy import (
    EIGHT,
    HourlySeries,
    MetaModel,
    Rates,
    Work,
    default_meta_model,
    device_power,
    utilization,
)
from servetwin.errors import InputError
from servetwin.sim.closed_form import (
    ClosedFormOptions,
    ClosedFormResult,
    Servetwin,
    run_closed_form,
)
from servetwin.studies.kavier.forms import kavier
from servetwin.studies.kavier.load import Load, load_of
from servetwin.studies.kavier_experiments import energy
from servetwin.studies.kavier_experiments.models import ours
from servetwin.types import Workload

A10 = find_accelerator("A10")


def result(
    given: list[int], made: list[int], kv_cache: bool = True, mine: Servetwin | None = None
) -> ClosedFormResult:
    workload = Workload(
        np.zeros(len(given), np.int64), np.array(given, np.int32), np.array(made, np.int32)
    )
    form = mine or kavier("Llama-3-8B", "A10")
    return run_closed_form(workload, form, ClosedFormOptions(kv_cache=kv_cache))


def test_kavier_is_busy_but_for_the_edges() -> None:
    found = result([1000, 2000], [10, 20])
    load = load_of(found)
    whole = (found.requests.prefill + found.requests.decode) * 1e-12
    np.testing.assert_allclose(
        load.seconds, [[0.2, whole[0] - 0.4, 0.2], [0.2, whole[1] - 0.4, 0.2]], rtol=1e-12
    )
    np.testing.assert_array_equal(load.load, [[0.5, 0.95, 0.5]] * 2)


def test_a_request_shorter_than_its_edges_is_all_edge() -> None:
    found = result([64], [1])
    load = load_of(found)
    whole = int(found.requests.prefill[0] + found.requests.decode[0]) * 1e-12
    assert whole < 0.2
    np.testing.assert_allclose(load.seconds, [[whole, 0, 0]])
    assert load.load[0, 0] == 0.5


@pytest.mark.parametrize("kv_cache", [True, False])
def test_work_of_servetwin_is_that_of_its_steps(kv_cache: bool) -> None:
    """One request; every decode step written out."""
    mine = ours("Llama-3-8B", "A10")
    found = result([100], [6], kv_cache, mine)
    load = load_of(found)
    contexts = np.arange(101, 106, dtype=np.float64)
    seconds = found.requests.decode * 1e-12
    none, one = np.zeros(1), np.ones(1)
    if kv_cache:
        work = Work(seconds, 5 * one, 5 * one, none, contexts.sum() * one, none, none)
    else:
        pairs = (contexts * (contexts + 1) / 2).sum()
        work = Work(seconds, 5 * one, none, contexts.sum() * one, none, pairs * one, 5 * one)
    curve = device_power(A10).curve
    np.testing.assert_allclose(load.seconds[0, 1], seconds[0])
    np.testing.assert_allclose(
        load.load[0, 1], curve.load(utilization(mine.deployment, work))[0], rtol=1e-12
    )


def test_some_requests_have_the_load_that_they_have_among_all() -> None:
    found = result([1000, 2000, 3000], [10, 20, 30], mine=ours("Llama-3-8B", "A10"))
    whole, part = load_of(found), load_of(found, slice(1, 3))
    np.testing.assert_array_equal(part.load, whole.load[1:])
    np.testing.assert_array_equal(part.seconds, whole.seconds[1:])


def flat(load: Load) -> Load:
    return Load(load.seconds.ravel(), load.load.ravel())


def test_energy_is_the_sum_of_watts_times_seconds() -> None:
    found = result([1000, 2000], [10, 20])
    row = energy.energy_row(found, A10, Rates(pue=1.5, carbon=100.0, gpu_price=2.0))
    load, device = flat(load_of(found)), device_power(A10)
    for model in EIGHT:
        watts = model.watts(load.load, device.idle, device.maximum)
        joules = float(watts @ load.seconds)
        assert row[f"kwh_{model.name}"] == pytest.approx(joules * 1.5 / 3.6e6)
    each = [row[f"kwh_{model.name}"] for model in EIGHT]
    assert row["kwh_meta_mean"] == pytest.approx(np.mean(each))
    assert (row["kwh_low"], row["kwh_high"]) == (min(each), max(each))
    median = MetaModel(how="median").predict(load.load, device.idle, device.maximum).watts
    assert row["kwh_meta_median"] == pytest.approx(float(median @ load.seconds) * 1.5 / 3.6e6)
    default = default_meta_model().predict(load.load, device.idle, device.maximum).watts
    assert row["kwh"] == pytest.approx(float(default @ load.seconds) * 1.5 / 3.6e6)
    assert row["kwh_low"] <= row["kwh"] <= row["kwh_high"]
    assert row["carbon_kg"] == pytest.approx(row["kwh"] * 0.1)
    assert row["usd"] == pytest.approx(row["gpu_hours"] * 2.0)
    assert row["mean_load"] == pytest.approx(np.average(load.load, weights=load.seconds))
    tokens = 3030
    assert row["wh_per_million_tokens"] == pytest.approx(row["kwh"] * 1e9 / tokens)
    assert row["usd_per_million_tokens"] == pytest.approx(row["usd"] * 1e6 / tokens)


def test_prefill_alone_is_rated_by_its_input_tokens() -> None:
    found = result([1000, 2000], [10, 20])
    nothing = np.zeros(2, np.int64)
    prefill = replace(found.requests, decode=nothing, output_tokens=nothing)
    row = energy.energy_row(replace(found, requests=prefill), A10, Rates())
    assert row["wh_per_million_tokens"] == pytest.approx(row["kwh"] * 1e9 / 3000)
    assert row["usd"] is None
    assert row["carbon_kg"] is None


def test_carbon_by_the_hour_falls_on_the_request_that_runs_then() -> None:
    """Two equal requests of half an hour and more; only the second hour has carbon."""
    found = result([10_000_000] * 2, [1] * 2)
    hours = found.simulated_s / 3600
    assert 2 < hours < 4
    series = HourlySeries((0.0, 1.0), (0.0, 1000.0))
    row = energy.energy_row(found, A10, Rates(carbon=series))
    always = energy.energy_row(found, A10, Rates(carbon=1000.0))
    assert 0 < row["carbon_kg"] < always["carbon_kg"]
    share = row["carbon_kg"] / always["carbon_kg"]
    assert share == pytest.approx((1 + max(0, hours - 3)) / hours, abs=0.01)


def test_the_band_over_time_is_steps() -> None:
    load = Load(np.array([[10.0, 0.0], [20.0, 50.0]]), np.array([[0.5, 0.7], [0.9, 0.2]]))
    rows = energy.band_over_time(load, A10, 40.0)
    assert [row["t_s"] for row in rows] == [0, 10, 10, 30, 30, 40]
    assert rows[0]["meta"] == rows[1]["meta"] < rows[2]["meta"]
    for row in rows:
        each = [row[model.name] for model in EIGHT]
        assert (row["low"], row["high"]) == (min(each), max(each))
        assert row["low"] <= row["meta"] <= row["high"]


def test_rates_are_read_or_those_of_the_catalog(tmp_path) -> None:  # type: ignore[no-untyped-def]
    assert energy.rates_of(A10, None, None, 1.0) == Rates(gpu_price=A10.price_per_hour)
    assert energy.rates_of(A10, "3", "250", 1.2) == Rates(1.2, 250.0, 3.0)
    with pytest.raises(InputError, match="--carbon"):
        energy.rates_of(A10, None, str(tmp_path / "none.csv"), 1.0)
