"""Energy to carbon and money: PUE, grid carbon, electricity and GPU prices."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from servetwin.cost.energy.rates import LARGEST, HourlySeries
from servetwin.errors import InputError

__all__ = ["Footprint", "Rates", "footprint"]

Floats = NDArray[np.float64]
Rate = float | HourlySeries
MOST_PUE = 1000.0


@dataclass(frozen=True)
class Rates:
    """What energy and devices cost. A rate is a number or a series by the hour."""

    pue: float = 1.0
    """Power usage effectiveness: energy of the whole site over that of its computers."""
    carbon: Rate | None = None
    """gCO2e/kWh of the electricity."""
    gpu_price: Rate | None = None
    """US dollars for one device and hour; None where unknown, and then no cost is known."""
    electricity_price: Rate | None = None
    """US dollars/kWh, on top of `gpu_price`; None where the GPU's price includes it."""

    def __post_init__(self) -> None:
        if not 1.0 <= self.pue <= MOST_PUE:
            raise InputError(
                f"pue {self.pue:g}: must be at least 1, such as 1.2, and at most {MOST_PUE:g}"
            )
        for name in ("carbon", "gpu_price", "electricity_price"):
            value = getattr(self, name)
            if isinstance(value, (int, float)) and not 0 <= value <= LARGEST:
                raise InputError(f"{name} {value:g}: must lie between 0 and {LARGEST:g}")


@dataclass(frozen=True)
class Footprint:
    """Totals of a run, PUE included; None where a rate is not known."""

    wh: float
    idle_wh: float
    """What the devices would have taken doing nothing; part of `wh`."""
    carbon_g: float | None
    usd: float | None
    requests: int
    input_tokens: int
    output_tokens: int

    def per(self, count: int) -> dict[str, float | None]:
        """Wh, gCO2e and dollars for one of `count`; None for each where there is none."""
        totals = {"wh": self.wh, "carbon_g": self.carbon_g, "usd": self.usd}
        return {
            name: None if total is None or count == 0 else total / count
            for name, total in totals.items()
        }

    def per_million(self, count: int) -> dict[str, float | None]:
        """Wh, gCO2e and dollars for a million of `count`."""
        return {
            name: None if value is None else value * 1e6 for name, value in self.per(count).items()
        }

    def describe(self) -> dict[str, Any]:
        """Everything, with the shares by request and by million tokens, ready for JSON.

        All energy is divided among each kind of token in turn, not split between them.
        """
        return {
            **asdict(self),
            "active_wh": self.wh - self.idle_wh,
            "per_request": self.per(self.requests),
            "per_million_input_tokens": self.per_million(self.input_tokens),
            "per_million_output_tokens": self.per_million(self.output_tokens),
            "per_million_tokens": self.per_million(self.input_tokens + self.output_tokens),
        }


@dataclass(frozen=True)
class Intervals:
    """A power series of all devices together. Seconds from the start of the run; shape (n,)."""

    begin: Floats
    end: Floats
    watts: Floats
    idle_watts: Floats
    devices: int


def footprint(
    series: Intervals, rates: Rates, requests: int, input_tokens: int, output_tokens: int
) -> Footprint:
    """Carbon and dollars of a power series; rates by the hour are averaged over each interval."""
    hours = (series.end - series.begin) / 3600.0
    kwh = series.watts * hours * rates.pue / 1e3
    carbon = None if rates.carbon is None else float(_rate(rates.carbon, series) @ kwh)
    usd = None
    if rates.gpu_price is not None:
        usd = float(_rate(rates.gpu_price, series) @ hours) * series.devices
        if rates.electricity_price is not None:
            usd += float(_rate(rates.electricity_price, series) @ kwh)
    return Footprint(
        wh=float(kwh.sum() * 1e3),
        idle_wh=float((series.idle_watts * hours).sum() * rates.pue),
        carbon_g=carbon,
        usd=usd,
        requests=requests,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
    )


def _rate(rate: Rate, series: Intervals) -> Floats:
    if isinstance(rate, HourlySeries):
        return rate.mean(series.begin, series.end)
    return np.full(series.begin.size, float(rate))
