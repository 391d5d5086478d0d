"""OpenDC's `powerSource.parquet`, and Kavier's efficiency figures computed from it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from servetwin.errors import InputError, nearest

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
    carbon_g: float
    """Sum of `carbon_emission`, grams."""
    rows: int

    @property
    def wh(self) -> float:
        return self.joules / 3600.0


@dataclass(frozen=True)
class Efficiency:
    """Kavier's three figures, each for a million tokens (input and output)."""

    wh_per_million_tokens: float
    carbon_g_per_million_tokens: float
    price_per_million_tokens: float | None
    """In the currency of the price."""


def read_power_source(path: Path) -> PowerSource:
    """Totals of the columns `energy_usage` and `carbon_emission`, read in batches.

    Raises InputError for a file that is missing, not Parquet or empty, and for a column
    that is missing, not numeric, or holds a value that is missing, negative or not finite.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise InputError(f"'{path}': no such file; expected OpenDC's powerSource.parquet")
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"'{path}' is not a Parquet file: {error}") from error
    with file:
        for name in (ENERGY, CARBON):
            _check_column(path, file.schema_arrow, name)
        totals, rows = {ENERGY: 0.0, CARBON: 0.0}, 0
        for batch in file.iter_batches(columns=[ENERGY, CARBON]):
            for name in totals:
                totals[name] += _sum(path, name, batch.column(name), rows)
            rows += batch.num_rows
    if rows == 0:
        raise InputError(f"'{path}' has no rows: did the OpenDC run finish?")
    return PowerSource(totals[ENERGY], totals[CARBON], rows)


def _check_column(path: Path, schema: object, name: str) -> None:
    import pyarrow as pa

    assert isinstance(schema, pa.Schema)
    if name not in schema.names:
        hint = nearest(name, schema.names) or f"it has {', '.join(schema.names) or 'none'}"
        raise InputError(f"'{path}' has no column {name}: {hint}")
    kind = schema.field(name).type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
        raise InputError(f"'{path}', column {name}: {kind}, expected numbers")


def _sum(path: Path, name: str, column: object, first: int) -> float:
    import pyarrow as pa

    assert isinstance(column, pa.Array)
    values = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    wrong = ~(np.isfinite(values) & (values >= 0))
    if wrong.any():
        at = int(np.argmax(wrong))
        raise InputError(
            f"'{path}', column {name}, row {first + at}: {values[at]:g}, expected a finite number, "
            "not negative"
        )
    return float(values.sum())


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
    return Efficiency(source.wh / tokens * 1e6, source.carbon_g / tokens * 1e6, price)
