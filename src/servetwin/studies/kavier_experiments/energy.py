"""Energy, carbon and money of an experiment's requests, as rows of its tables."""

from __future__ import annotations

import numpy as np

from servetwin.cost.energy import (
    EIGHT,
    MetaModel,
    Rates,
    default_meta_model,
    device_power,
    read_rate,
)
from servetwin.sim.closed_form import ClosedFormResult
from servetwin.studies.kavier.load import Load
from servetwin.studies.kavier.power import run_energy
from servetwin.studies.kavier_experiments.outcome import Row
from servetwin.types import Accelerator

__all__ = ["band_over_time", "energy_row", "rates_of"]


def rates_of(accelerator: Accelerator, price: str | None, carbon: str | None, pue: float) -> Rates:
    """Read `--price`, `--carbon` and `--pue`; the catalog's price where none is given."""
    return Rates(
        pue=pue,
        carbon=None if carbon is None else read_rate(carbon, "--carbon"),
        gpu_price=(accelerator.price_per_hour if price is None else read_rate(price, "--price")),
    )


def energy_row(result: ClosedFormResult, accelerator: Accelerator, rates: Rates) -> Row:
    """kWh by each power model and by the meta-model, and what they come to; PUE included."""
    energy = run_energy(result, accelerator, rates)
    median = run_energy(result, accelerator, rates, MetaModel(how="median"))
    each = {name: joules * rates.pue / 3.6e6 for name, joules in energy.joules_by_model.items()}
    total = energy.footprint
    tokens = total.per_million(total.input_tokens + total.output_tokens)
    return {
        "gpu_hours": result.simulated_s / 3600,
        "mean_load": energy.mean_load,
        **{f"kwh_{name}": kwh for name, kwh in each.items()},
        "kwh_meta_mean": sum(each.values()) / len(each),
        "kwh_meta_median": median.footprint.wh / 1e3,
        "kwh": total.wh / 1e3,
        "kwh_low": min(each.values()),
        "kwh_high": max(each.values()),
        "kwh_idle": total.idle_wh / 1e3,
        "carbon_kg": None if total.carbon_g is None else total.carbon_g / 1e3,
        "usd": total.usd,
        "wh_per_million_tokens": tokens["wh"],
        "carbon_g_per_million_tokens": tokens["carbon_g"],
        "usd_per_million_tokens": tokens["usd"],
    }


def band_over_time(load: Load, accelerator: Accelerator, seconds: float) -> list[Row]:
    """Watts of each model, of the meta-model and of the band, over the first `seconds`.

    Two rows a piece, at its begin and its end, so that lines drawn through them are steps.
    """
    device = device_power(accelerator)
    takes_time = load.seconds.ravel() > 0
    ends = np.cumsum(load.seconds.ravel()[takes_time])
    end = np.minimum(ends[: int(np.searchsorted(ends, seconds)) + 1], seconds)
    begin = np.concatenate([[0.0], end[:-1]])
    shown = load.load.ravel()[takes_time][: end.size]
    band = default_meta_model().predict(shown, device.idle, device.maximum)
    rows = []
    for piece in range(end.size):
        watts = {
            model.name: float(value)
            for model, value in zip(EIGHT, band.by_model[:, piece], strict=True)
        }
        row = {
            **watts,
            "meta": float(band.watts[piece]),
            "low": float(band.low[piece]),
            "high": float(band.high[piece]),
        }
        rows += [{"t_s": float(t), **row} for t in (begin[piece], end[piece])]
    return rows
