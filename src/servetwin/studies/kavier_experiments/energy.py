"""Energy, carbon and money of requests that run one after the other, each alone.

`kavier` states one utilisation of the GPU over time, which is taken as its load. For
`servetwin` the load follows from the compute and memory utilisation of its prefill and its
decode (`docs/background/energy.md`). Both loads go through the same eight power models.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from servetwin.cost.energy import (
    EIGHT,
    DevicePower,
    MetaModel,
    Rates,
    Work,
    default_meta_model,
    device_power,
    read_rate,
    utilization,
)
from servetwin.cost.energy.footprint import Intervals, footprint
from servetwin.errors import InputError
from servetwin.sim.closed_form import ClosedFormResult
from servetwin.studies.kavier_experiments.models import Ours
from servetwin.studies.kavier_experiments.outcome import Row
from servetwin.types import Accelerator
from servetwin.units import seconds_from_ps

__all__ = ["Load", "band_over_time", "energy_row", "kavier_load", "rates_of", "servetwin_load"]

Floats = NDArray[np.float64]
PIECE = 1 << 16
"""Pieces whose band is computed at a time."""


@dataclass(frozen=True)
class Load:
    """A series of pieces of constant load, in the order in which they run; shape (n,)."""

    seconds: Floats
    load: Floats

    @staticmethod
    def of(seconds: Floats, load: Floats) -> Load:
        """From arrays of shape (requests, pieces); pieces that take no time are left out."""
        kept = seconds.ravel() > 0
        return Load(seconds.ravel()[kept], load.ravel()[kept])


def kavier_load(result: ClosedFormResult) -> Load:
    """The utilisation that Kavier states: 0.5 in the first and last 0.2 s, 0.95 between."""
    phases = result.model.phases(result.requests, result.options.kv_cache)
    whole = result.requests.prefill + result.requests.decode
    begin, end = np.minimum(phases.begin, whole), np.minimum(phases.end, whole)
    seconds = seconds_from_ps(np.stack([begin, end - begin, whole - end], 1))
    load = np.stack([phases.head, (phases.first + phases.last) / 2, phases.tail], 1)
    return Load.of(seconds, load)


def servetwin_load(result: ClosedFormResult, mine: Ours) -> Load:
    """Prefill, then decode of each request, by what both do to arithmetic and memory."""
    requests = result.requests
    prefill, decode = _prefill_work(result), _decode_work(result)
    curve = device_power(mine.deployment.accelerator).curve
    loads = [
        curve.load(utilization(mine.deployment, mine.cost, work)) for work in (prefill, decode)
    ]
    seconds = seconds_from_ps(np.stack([requests.prefill, requests.decode], 1))
    return Load.of(seconds, np.stack(loads, 1))


def _prefill_work(result: ClosedFormResult) -> Work:
    given = result.requests.input_tokens.astype(np.float64)
    cached = result.requests.cached_tokens
    known = np.zeros(given.size) if cached is None else np.minimum(cached, given - 1)
    seconds = seconds_from_ps(result.requests.prefill)
    runs = (seconds > 0).astype(np.float64)
    return _work(
        seconds=seconds,
        iterations=runs,
        prefill_tokens=runs * (given - known),
        prefill_context=runs * (given * (given + 1) - known * (known + 1)) / 2,
        prompts=runs,
    )


def _decode_work(result: ClosedFormResult) -> Work:
    """Steps that read the cache, or without one a prefill of all tokens for each step."""
    given = result.requests.input_tokens.astype(np.float64)
    seconds = seconds_from_ps(result.requests.decode)
    runs = (seconds > 0).astype(np.float64)
    steps = runs * np.maximum(result.requests.output_tokens - 1.0, 0.0)
    context = steps * given + steps * (steps + 1) / 2
    if result.options.kv_cache:
        return _work(seconds=seconds, iterations=steps, decode_tokens=steps, decode_context=context)
    last = given + steps
    # The sum of c (c + 1) / 2 over the contexts c after the prompt's own.
    pairs = (last * (last + 1) * (last + 2) - given * (given + 1) * (given + 2)) / 6
    return _work(
        seconds=seconds,
        iterations=steps,
        prefill_tokens=context,
        prefill_context=pairs,
        prompts=steps,
    )


def _work(**columns: Floats) -> Work:
    """Work with zeros in the columns that are not given."""
    zeros = np.zeros(columns["seconds"].size)
    return Work(**{name: columns.get(name, zeros) for name in Work.__dataclass_fields__})


def rates_of(accelerator: Accelerator, price: str | None, carbon: str | None, pue: float) -> Rates:
    """Read `--price`, `--carbon` and `--pue`; the catalog's price where none is given."""
    return Rates(
        pue=pue,
        carbon=None if carbon is None else read_rate(carbon, "--carbon"),
        gpu_price=(accelerator.price_per_hour if price is None else read_rate(price, "--price")),
    )


def energy_row(load: Load, accelerator: Accelerator, rates: Rates, result: ClosedFormResult) -> Row:
    """kWh by each power model and by the meta-model, and what they come to; PUE included.

    Output tokens count only where the result has any decode.
    """
    if not load.seconds.size:
        raise InputError("no request takes any time: there is no energy to account for")
    device = device_power(accelerator)
    by_model, meta, watts = _joules(load, device)
    end = np.cumsum(load.seconds)
    idle = np.full(end.size, device.idle)
    series = Intervals(end - load.seconds, end, watts, idle, 1)
    requests = result.requests
    made = int(requests.output_tokens.sum()) if requests.decode.any() else 0
    given = int(requests.input_tokens.sum())
    total = footprint(series, rates, requests.input_tokens.size, given, made)
    tokens = total.per_million(total.input_tokens + total.output_tokens)
    kwh = rates.pue / 3.6e6
    return {
        "gpu_hours": float(end[-1] / 3600),
        "mean_load": float(load.seconds @ load.load / end[-1]),
        **{f"kwh_{model.name}": float(j * kwh) for model, j in zip(EIGHT, by_model, strict=True)},
        **{f"kwh_meta_{how}": joules * kwh for how, joules in meta.items()},
        "kwh": total.wh / 1e3,
        "kwh_low": float(by_model.min() * kwh),
        "kwh_high": float(by_model.max() * kwh),
        "kwh_idle": total.idle_wh / 1e3,
        "carbon_kg": None if total.carbon_g is None else total.carbon_g / 1e3,
        "usd": total.usd,
        "wh_per_million_tokens": tokens["wh"],
        "carbon_g_per_million_tokens": tokens["carbon_g"],
        "usd_per_million_tokens": tokens["usd"],
    }


def _joules(load: Load, device: DevicePower) -> tuple[Floats, dict[str, float], Floats]:
    """Joules by model, by mean and median at each step, and the default meta-model's watts."""
    default, median = default_meta_model(), MetaModel(how="median")
    by_model, middle = np.zeros(len(EIGHT)), 0.0
    watts = np.empty(load.seconds.size)
    for at in range(0, watts.size, PIECE):
        piece = slice(at, at + PIECE)
        band = default.predict(load.load[piece], device.idle, device.maximum)
        by_model += band.by_model @ load.seconds[piece]
        middle += float(median.combine(band.by_model) @ load.seconds[piece])
        watts[piece] = band.watts
    return by_model, {"mean": float(by_model.mean()), "median": middle}, watts


def band_over_time(load: Load, accelerator: Accelerator, seconds: float) -> list[Row]:
    """Watts of each model, of the meta-model and of the band, over the first `seconds`.

    Two rows a piece, at its begin and its end, so that lines drawn through them are steps.
    """
    device = device_power(accelerator)
    kept = int(np.searchsorted(np.cumsum(load.seconds), seconds)) + 1
    end = np.minimum(np.cumsum(load.seconds[:kept]), seconds)
    begin = np.concatenate([[0.0], end[:-1]])
    band = default_meta_model().predict(load.load[:kept], device.idle, device.maximum)
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
