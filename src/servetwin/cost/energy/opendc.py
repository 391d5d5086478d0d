"""OpenDC's `powerSource.parquet`, and Kavier's efficiency figures computed from it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from servetwin.cost.energy.parquet_columns import number_columns
from servetwin.errors import InputError

__all__ = [
    "Efficiency",
    "PowerSource",
    "efficiency",
    "euro_per_million_tokens",
    "read_power_source",
]

ENERGY, CARBON = "energy_usage", "carbon_emission"


@dataclass(frozen=True)
class PowerSource:
    """Totals of a power source file."""

    joules: float
    """Sum of `energy_usage`, watt-seconds."""
    carbon_g: float | None
    """Sum of `carbon_emission`, grams; None where the file has no such column."""
    rows: int

    @property
    def wh(self) -> float:
        return self.joules / 3600.0


@dataclass(frozen=True)
class Efficiency:
    """Kavier's three figures, each for a million tokens (input and output)."""

    wh_per_million_tokens: float
    carbon_g_per_million_tokens: float | None
    price_per_million_tokens: float | None
    """In the currency of the price."""


def read_power_source(path: Path) -> PowerSource:
    """Totals of the columns `energy_usage` and `carbon_emission`, read in batches.

    Raises InputError for a file that cannot be read, has no rows or no energy, and for a
    column that holds something else than numbers that are not negative.
    """
    import pyarrow.parquet as pq

    joules, grams, rows = 0.0, 0.0, 0
    for batch in number_columns(path, "OpenDC's powerSource.parquet", (ENERGY,), (CARBON,)):
        joules += float(batch[ENERGY].sum())
        grams += float(batch[CARBON].sum())
        rows += batch[ENERGY].size
    if rows == 0:
        raise InputError(f"'{path}' has no rows: did the OpenDC run finish?")
    known = CARBON in pq.read_schema(path).names
    return PowerSource(joules, grams if known else None, rows)


def euro_per_million_tokens(price_per_hour: float, tokens_per_second: float) -> float:
    """Kavier's financial efficiency: `price / 3600 / (tokens / s) * 1e6`.

    `tokens_per_second` is all tokens over the total latency in seconds. Kavier's tasks state
    durations in milliseconds; its first release divided by them as if they were seconds, so
    its costs (and likewise its Wh, from watt-seconds) were off by about 1,000.
    """
    if not (math.isfinite(price_per_hour) and price_per_hour >= 0):
        raise InputError(f"price {price_per_hour:g}: must be finite and not negative, per GPU hour")
    if not (math.isfinite(tokens_per_second) and tokens_per_second > 0):
        raise InputError("efficiency needs at least one token and a duration above 0")
    return price_per_hour / 3600.0 / tokens_per_second * 1e6


def efficiency(
    source: PowerSource, tokens: int, total_latency_s: float, price_per_hour: float | None = None
) -> Efficiency:
    """Kavier's figures; `total_latency_s` is the sum of all task durations, one GPU each."""
    if tokens < 1:
        raise InputError("efficiency needs at least one token: the tasks have none")
    if not (math.isfinite(total_latency_s) and total_latency_s > 0):
        raise InputError("efficiency needs a total duration above 0 s")
    price = None
    if price_per_hour is not None:
        price = euro_per_million_tokens(price_per_hour, tokens / total_latency_s)
    carbon = None if source.carbon_g is None else source.carbon_g / tokens * 1e6
    return Efficiency(source.wh / tokens * 1e6, carbon, price)
