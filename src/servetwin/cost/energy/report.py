"""Energy of a run: power of every replica over time, and what it adds up to."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from servetwin.cost.energy.footprint import Footprint, Intervals, Rates, footprint
from servetwin.cost.energy.load import DevicePower, default_meta_model, device_power
from servetwin.cost.energy.meta_power import MetaModel
from servetwin.cost.energy.timeline_work import Lengths, mean_lengths, replica_work, spread
from servetwin.cost.energy.utilization import utilization
from servetwin.errors import InputError
from servetwin.types import CostModel, Deployment, RunResult, Status
from servetwin.units import PS_PER_S

__all__ = ["EnergyOptions", "EnergyReport", "energy_of"]

Floats = NDArray[np.float64]
PIECE = 65_536
"""Intervals whose band is computed at a time."""


@dataclass(frozen=True)
class EnergyOptions:
    """How to turn a run into energy, carbon and money."""

    rates: Rates = field(default_factory=Rates)
    """`gpu_price` None: the catalog's price of the device."""
    meta: MetaModel | None = None
    """None: the combination of the eight models that did best on held-out measurements."""


@dataclass(frozen=True)
class EnergyReport:
    """Power by row of the timeline, and totals. Watts are of all devices of a replica."""

    power_w: Floats
    """Shape (rows,), in the order of the timeline: its column `power_w`."""
    low_w: Floats
    high_w: Floats
    p10_w: Floats
    p90_w: Floats
    """Band over the power models at each row."""
    load: Floats
    """Load of a device while its engine worked, 0..1."""
    duty: Floats
    """Share of each interval in which the engine worked."""
    joules: float
    idle_joules: float
    """What the same devices would have taken doing nothing, for as long."""
    joules_by_model: dict[str, float]
    joules_by_kind: tuple[float, ...]
    """Of each of `Deployment.kinds`."""
    output_tokens: int
    footprint: Footprint
    notes: tuple[str, ...] = ()

    def summary(self) -> dict[str, Any]:
        """The keys `energy`, `carbon_g` and `cost` of `summary.json`."""
        return {
            "energy": {
                "total_j": self.joules,
                "idle_j": self.idle_joules,
                "active_j": self.joules - self.idle_joules,
                "j_per_output_token": _per(self.joules, self.output_tokens),
                "band_j": [min(self.joules_by_model.values()), max(self.joules_by_model.values())],
                "footprint": self.footprint.describe(),
            },
            "carbon_g": self.footprint.carbon_g,
            "cost": {
                "usd": self.footprint.usd,
                "usd_per_million_output_tokens": self.footprint.per_million(self.output_tokens)[
                    "usd"
                ],
            },
        }


def energy_of(
    run: RunResult, deployment: Deployment, cost: CostModel, options: EnergyOptions | None = None
) -> EnergyReport:
    """Energy of a simulated or measured run, from its timeline.

    `cost` is of one engine of `deployment`, or of one of each kind of its engines.
    From the start of the clock to the last token.
    Raises InputError for a run without a timeline or a device without a power limit.
    """
    options = options or EnergyOptions()
    if run.timeline is None or len(run.timeline) == 0:
        raise InputError("energy needs a timeline: simulate with a snapshot interval above 0")
    kinds = _kinds(deployment, cost)
    meta = options.meta or default_meta_model()
    seconds = _lengths(run)
    known = meta, seconds, mean_lengths(run.requests)
    engines = [kind for kind in kinds for _ in range(kind.deployment.replicas)]
    parts = [
        _replica(run, engine, known, slice(replica, None, len(engines)))
        for replica, engine in enumerate(engines)
    ]
    # From (replica, row of that replica) to the order of the timeline.
    rows = {
        name: np.stack([part.columns[name] for part in parts], 1).ravel()
        for name in parts[0].columns
    }
    joules_by_model = np.sum([part.joules_by_model for part in parts], axis=0)
    lengths = np.repeat(seconds, len(engines))
    idle = sum(kind.device.idle * kind.deployment.devices for kind in kinds)
    done = run.requests.status == Status.OK
    output = int(run.requests.output_tokens[done].sum())
    total = np.add.reduceat(rows["watts"], np.arange(0, lengths.size, len(engines)))
    begin = np.cumsum(seconds) - seconds
    series = Intervals(
        begin, begin + seconds, total, np.full(seconds.size, idle), deployment.devices
    )
    rates = options.rates
    if rates.gpu_price is None:
        rates = replace(rates, gpu_price=_price(kinds))
    return EnergyReport(
        power_w=rows["watts"],
        low_w=rows["low"],
        high_w=rows["high"],
        p10_w=rows["p10"],
        p90_w=rows["p90"],
        load=rows["load"],
        duty=rows["duty"],
        joules=float(rows["watts"] @ lengths),
        idle_joules=float(idle * seconds.sum()),
        joules_by_model={
            model.name: float(joules)
            for model, joules in zip(meta.models, joules_by_model, strict=True)
        },
        joules_by_kind=_by_kind(kinds, rows["watts"].reshape(seconds.size, -1), seconds),
        output_tokens=output,
        footprint=footprint(
            series,
            rates,
            int(done.sum()),
            int(run.requests.input_tokens[done].sum()),
            output,
        ),
        notes=(
            *dict.fromkeys(note for kind in kinds for note in kind.device.notes),
            *_notes(run),
            *_unpriced(kinds, rates),
        ),
    )


@dataclass(frozen=True)
class _Kind:
    """Engines that are alike."""

    deployment: Deployment
    cost: CostModel
    device: DevicePower


def _kinds(deployment: Deployment, cost: CostModel) -> list[_Kind]:
    return [
        _Kind(kind, own, device_power(kind.accelerator))
        for kind, own in zip(deployment.kinds, cost.kinds, strict=True)
    ]


def _by_kind(kinds: list[_Kind], watts: Floats, seconds: Floats) -> tuple[float, ...]:
    """Joules of the engines of each kind; `watts` has shape (intervals, engines)."""
    ends = np.cumsum([kind.deployment.replicas for kind in kinds])
    joules = np.split(seconds @ watts, ends[:-1])
    return tuple(float(own.sum()) for own in joules)


def _price(kinds: list[_Kind]) -> float | None:
    """Mean US dollars for one of all devices and hour, from the catalog."""
    total = 0.0
    for kind in kinds:
        price = kind.deployment.accelerator.price_per_hour
        if price is None:
            return None
        total += price * kind.deployment.devices
    return total / sum(kind.deployment.devices for kind in kinds)


def _unpriced(kinds: list[_Kind], rates: Rates) -> tuple[str, ...]:
    """Say why there is no cost, where electricity was to be part of it."""
    if rates.gpu_price is not None or rates.electricity_price is None:
        return ()
    gpus = (kind.deployment.accelerator for kind in kinds)
    unknown = dict.fromkeys(gpu.name for gpu in gpus if gpu.price_per_hour is None)
    return (
        f"no cost: the catalog knows no price of {' and '.join(unknown)}; give --price, "
        "0 for electricity alone",
    )


@dataclass(frozen=True)
class _Part:
    """What one replica's rows come to; watts of all its devices."""

    columns: dict[str, Floats]
    joules_by_model: Floats


def _replica(
    run: RunResult, engine: _Kind, known: tuple[MetaModel, Floats, Lengths], rows: slice
) -> _Part:
    meta, seconds, lengths = known
    deployment, cost, device = engine.deployment, engine.cost, engine.device
    assert run.timeline is not None
    work = replica_work(run.timeline, rows, deployment, cost, lengths)
    work = spread(work, seconds)
    load = device.curve.load(utilization(deployment, work))
    duty = work.seconds / seconds
    rest = _resting_watts(device, duty > 0, run.timeline.interval / PS_PER_S)
    devices = deployment.parallelism.devices
    columns = {name: np.empty(load.size) for name in ("watts", "low", "high", "p10", "p90")}
    joules = np.zeros(len(meta.models))
    # The band holds every model's watts at once, so it is taken a piece at a time.
    for first in range(0, load.size, PIECE):
        piece = slice(first, first + PIECE)
        band = meta.predict(load[piece], device.idle, device.maximum)
        resting = (1.0 - duty[piece]) * rest[piece]
        for name, column in columns.items():
            column[piece] = devices * (duty[piece] * getattr(band, name) + resting)
        joules += devices * ((duty[piece] * band.by_model + resting) @ seconds[piece])
    return _Part({**columns, "load": np.where(duty > 0, load, 0.0), "duty": duty}, joules)


def _resting_watts(device: DevicePower, working: NDArray[np.bool_], interval: float) -> Floats:
    """Watts of one device in the part of each interval in which it has no work."""
    rows = np.arange(working.size)
    last = np.maximum.accumulate(np.where(working, rows, -1))
    since = np.where(last >= 0, (rows - last) * interval, np.inf)
    return np.where(since <= device.standby_seconds, device.standby, device.idle)


def _lengths(run: RunResult) -> Floats:
    """Seconds of each interval; the last ends with the last token."""
    assert run.timeline is not None
    ends = np.unique(run.timeline.t) / PS_PER_S
    seconds = np.full(ends.size, run.timeline.interval / PS_PER_S)
    last = float(run.requests.finish.max(initial=0)) / PS_PER_S
    rest = last - (ends[-1] - seconds[-1])
    if 0.0 < rest < seconds[-1]:
        seconds[-1] = rest
    return seconds


def _per(total: float, count: int) -> float | None:
    return total / count if count else None


def _notes(run: RunResult) -> tuple[str, ...]:
    if run.timeline is None or run.timeline.iterations is not None:
        return ()
    return ("energy: iterations and contexts of an interval are estimated from its tokens",)
