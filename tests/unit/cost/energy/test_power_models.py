"""The eight power models and the meta-model, against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servetwin.cost.energy import EIGHT, MetaModel, PowerModel, find_power_model
from servetwin.errors import InputError

MODELS = (*EIGHT, find_power_model("constant"), find_power_model("mse-1.4"))
shares = st.floats(0, 1)


def test_values_at_half_load_between_32_and_180_watts():
    """Idle and maximum of the multi-model experiment."""
    expected = {
        "sqrt": 32 + 148 * math.sqrt(0.5),
        "linear": 32 + 148 * 0.5,
        "square": 32 + 148 * 0.25,
        "cubic": 32 + 148 * 0.125,
        "mse-0.7": 32 + 148 * (1.0 - 0.5**0.7),
        "asymptotic-0.85": 32 + 148 * (1.5 - math.exp(-0.5 / 0.85)) / 2,
        "asymptotic-dvfs-0.85": 32 + 148 * (1.125 - math.exp(-0.125 / 0.85)) / 2,
        "asymptotic-dvfs-1.9": 32 + 148 * (1.125 - math.exp(-0.125 / 1.9)) / 2,
    }
    assert [model.name for model in EIGHT] == list(expected)
    for model in EIGHT:
        assert model.watts(0.5, 32, 180) == pytest.approx(expected[model.name], rel=1e-12)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_no_load_is_idle_and_full_load_at_most_the_maximum(model):
    if model.kind != "constant":
        assert model.watts(0.0, 32, 180) == pytest.approx(32)
    assert model.watts(1.0, 32, 180) <= 180


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
@given(shares, shares)
def test_more_load_never_takes_less_power(model, one, other):
    # mse-0.7 falls at first, but below idle, where it is clamped.
    low, high = sorted((one, other))
    assert model.watts(high, 10, 100) >= model.watts(low, 10, 100) - 1e-9


def test_mse_below_idle_is_clamped_and_flagged():
    """2u < u^0.7 below u = 2^(-1/0.3) = 0.0992."""
    model = find_power_model("mse-0.7")
    edge = 2 ** (-1 / 0.3)
    below, above = edge * 0.99, edge * 1.01
    assert model.clamped([0.05, below, above]).tolist() == [True, True, False]
    assert model.watts(0.05, 32, 180) == 32
    assert model.watts(above, 32, 180) > 32
    assert not find_power_model("linear").clamped(np.linspace(0, 1, 11)).any()


@pytest.mark.parametrize(
    ("name", "reach"),
    [("asymptotic-0.85", 0.846), ("asymptotic-dvfs-0.85", 0.846), ("asymptotic-dvfs-1.9", 0.705)],
)
def test_asymptotic_models_fall_short_unless_renormalised(name, reach):
    model = find_power_model(name)
    assert model.share(1.0) == pytest.approx(reach, abs=5e-4)
    full = PowerModel(name, model.kind, model.parameter, renormalise=True)
    assert full.share(1.0) == pytest.approx(1.0)
    assert full.share(0.4) == pytest.approx(model.share(0.4) / model.share(1.0))


@pytest.mark.parametrize("parameter", [0.0, -1.0, math.inf, math.nan])
@pytest.mark.parametrize("kind", ["mse", "asymptotic", "asymptotic-dvfs"])
def test_a_parameter_that_divides_by_zero_is_an_error(kind, parameter):
    with pytest.raises(InputError, match="above 0"):
        PowerModel("x", kind, parameter)


@pytest.mark.parametrize("value", [-0.01, 1.01, math.nan])
def test_utilisation_outside_0_to_1_is_an_error(value):
    with pytest.raises(ValueError, match="between 0 and 1"):
        EIGHT[0].share([0.5, value])


def test_rounding_beyond_1_is_not_an_error():
    assert EIGHT[0].share(1 + 1e-12) == 1.0


def test_an_unknown_model_names_the_nearest():
    with pytest.raises(InputError, match="cubic"):
        find_power_model("cubik")
    with pytest.raises(InputError, match="not known"):
        find_power_model("mse-x")


@given(st.lists(shares, min_size=1, max_size=20), st.sampled_from(["mean", "median", "weights"]))
def test_the_meta_model_stays_in_its_band(loads, how):
    weights = (0.3, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1) if how == "weights" else None
    band = MetaModel(how=how, weights=weights).predict(loads, 32, 180)
    slack = 1e-9
    assert np.all(band.low <= band.p10 + slack)
    assert np.all(band.p10 <= band.p90 + slack)
    assert np.all(band.p90 <= band.high + slack)
    assert np.all((band.low - slack <= band.watts) & (band.watts <= band.high + slack))
    assert band.by_model.shape == (8, len(loads))


def test_mean_median_and_weights():
    values = np.array([[1.0], [2.0], [6.0]])
    models = EIGHT[:3]
    assert MetaModel(models, "mean").combine(values) == [3.0]
    assert MetaModel(models, "median").combine(values) == [2.0]
    assert MetaModel(models, "weights", (0.5, 0.0, 0.5)).combine(values) == [3.5]


@pytest.mark.parametrize("weights", [(0.5, 0.5), (-0.1, 1.1, 0.0), (0.5, 0.5, 0.5)])
def test_weights_must_fit_the_models(weights):
    with pytest.raises(InputError):
        MetaModel(EIGHT[:3], "weights", weights)


def test_weights_only_where_they_are_used():
    with pytest.raises(InputError):
        MetaModel(how="weights")
    with pytest.raises(InputError):
        MetaModel(how="mean", weights=(1.0,) * 8)
    with pytest.raises(InputError):
        MetaModel(how="mode")
    with pytest.raises(InputError):
        MetaModel(())
