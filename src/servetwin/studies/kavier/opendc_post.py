"""Post-processing: Kavier's efficiency from its tasks and OpenDC's power, or from our own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from servetwin.cost.energy import PowerSource, Rates
from servetwin.errors import InputError

if TYPE_CHECKING:
    from servetwin.types import Accelerator

__all__ = [
    "GENERATED",
    "PostProcessed",
    "Tasks",
    "generate_power",
    "post_process",
    "read_tasks",
    "write_power",
]

Floats = NDArray[np.float64]

GENERATED = "generated"
"""Value of --opendc that asks for power of our own, without OpenDC."""
FRAGMENTS = "fragments.parquet"
POWER_SOURCE = "powerSource.parquet"
"""What OpenDC calls its file, and the document, whose commands should run without OpenDC."""
MS_PER_HOUR = 3_600_000
MOST_HOURS = 10_000_000
LEVELS = 1001
"""Utilisation is looked up in thousandths."""


@dataclass(frozen=True)
class Tasks:
    """Totals of a tasks.parquet."""

    rows: int
    tokens: int
    seconds: float
    """Durations of all tasks, one after the other."""
    gpu_capacity: float
    mem_capacity: int


@dataclass(frozen=True)
class PostProcessed:
    """What tasks and power come to."""

    tasks: Tasks
    source: PowerSource
    price_per_hour: float | None
    notes: tuple[str, ...]
    hourly: tuple[Floats, Floats | None] | None = None
    """Generated joules and grams (None: unknown) by hour; None where OpenDC's file was read."""

    def describe(self) -> dict[str, Any]:
        """Plain values for JSON: totals, then figures for a million tokens."""
        from servetwin.cost.energy import efficiency

        found = efficiency(self.source, self.tasks.tokens, self.tasks.seconds, self.price_per_hour)
        hours = self.tasks.seconds / 3600
        return {
            "schema": "servetwin.kavier_efficiency/1",
            "tasks": self.tasks.rows,
            "tokens": self.tasks.tokens,
            "gpu_hours": hours,
            "tokens_per_s": self.tasks.tokens / self.tasks.seconds,
            "energy_wh": self.source.wh,
            "carbon_g": self.source.carbon_g,
            "price_per_hour": self.price_per_hour,
            "cost": None if self.price_per_hour is None else self.price_per_hour * hours,
            "wh_per_million_tokens": found.wh_per_million_tokens,
            "carbon_g_per_million_tokens": found.carbon_g_per_million_tokens,
            "price_per_million_tokens": found.price_per_million_tokens,
            "notes": list(self.notes),
        }


def post_process(tasks: Path, opendc: str, rates: Rates, gpu: str | None = None) -> PostProcessed:
    """Read both files, or generate the power from the fragments beside the tasks.

    Power is generated where `opendc` is `generated`, or a file named powerSource.parquet
    that does not exist. PUE and carbon of `rates` apply to generated power alone. Raises
    InputError for files that are missing or wrong.
    """
    from servetwin.cost.energy import read_power_source

    found = read_tasks(tasks)
    price = _price(rates)
    path = Path(opendc)
    if not path.is_file() and opendc != GENERATED and path.name != POWER_SOURCE:
        raise InputError(
            f"--opendc '{opendc}': no such file; '{GENERATED}' stands for power of our own, and so "
            f"does a {POWER_SOURCE} that does not exist"
        )
    if path.is_file():
        source = read_power_source(path)
        absent = () if source.carbon_g is not None else (f"no carbon: '{path}' states none",)
        return PostProcessed(found, source, price, absent)
    joules, grams, notes = generate_power(tasks.with_name(FRAGMENTS), found, rates, gpu)
    if opendc != GENERATED:
        notes = (f"'{opendc}' does not exist; instead: power of our own", *notes)
    carbon = None if grams is None else float(grams.sum())
    source = PowerSource(float(joules.sum()), carbon, joules.size)
    return PostProcessed(found, source, price, notes, (joules, grams))


def _price(rates: Rates) -> float | None:
    if rates.gpu_price is None or isinstance(rates.gpu_price, (int, float)):
        return rates.gpu_price
    raise InputError("--price: post-processing takes one price for an hour, not a file")


def read_tasks(path: Path) -> Tasks:
    """Totals of a tasks.parquet, ours or Kavier's. Raises InputError where it is none."""
    from servetwin.cost.energy.parquet_columns import number_columns

    needed, capacities = ("duration", "total_tokens"), ("gpu_capacity", "mem_capacity")
    rows = tokens = 0
    milliseconds = capacity = memory = 0.0
    for batch in number_columns(path, "Kavier's tasks.parquet", needed, capacities):
        if batch["duration"].size == 0:
            continue
        milliseconds += float(batch["duration"].sum())
        tokens += int(batch["total_tokens"].sum())
        rows += batch["duration"].size
        capacity, memory = (float(batch[name][0]) for name in capacities)
    if rows == 0 or tokens == 0 or milliseconds == 0:
        raise InputError(f"'{path}' has no tasks that took time and tokens")
    return Tasks(rows, tokens, milliseconds / 1000, capacity, int(memory))


def generate_power(
    fragments: Path, tasks: Tasks, rates: Rates, gpu: str | None
) -> tuple[Floats, Floats | None, tuple[str, ...]]:
    """Joules and grams of each hour, fragments one after the other, by the meta-model.

    Every fragment draws what the power models say of its `gpu_usage / gpu_capacity`. The
    device is `gpu`, or the one of Kavier's library with the capacity of the tasks. Grams are
    None where `rates` state no carbon.
    """
    from servetwin.cost.energy import HourlySeries, default_meta_model, device_power

    accelerator = _accelerator(tasks, gpu)
    device = device_power(accelerator)
    levels = np.arange(LEVELS) / (LEVELS - 1)
    watts = default_meta_model().predict(levels, device.idle, device.maximum).watts
    joules = _hourly_joules(fragments, tasks.gpu_capacity, watts) * rates.pue
    hours = np.arange(joules.size, dtype=np.float64) * 3600
    notes = (
        f"power: our meta-model of eight power models for {accelerator.name} between "
        f"{device.idle:.0f} and {device.maximum:.0f} W, not OpenDC's",
        *device.notes,
    )
    if rates.carbon is None:
        notes = (*notes, "no carbon: give --carbon, gCO2e/kWh")
        return joules, None, notes
    intensity: float | Floats
    if isinstance(rates.carbon, HourlySeries):
        intensity = rates.carbon.mean(hours, hours + 3600)
    else:
        intensity = rates.carbon
    return joules, joules / 3.6e6 * intensity, notes


def _accelerator(tasks: Tasks, gpu: str | None) -> Accelerator:
    from servetwin.catalog import find_accelerator
    from servetwin.sim.closed_form import find_kavier_gpu, kavier_gpus
    from servetwin.studies.kavier.power import energy_gpu

    if gpu is not None:
        try:
            return energy_gpu(find_kavier_gpu(gpu).name, "kavier")
        except InputError:
            return find_accelerator(gpu)
    for name, entry in kavier_gpus().items():
        same = entry.cores * entry.mhz == tasks.gpu_capacity
        if same and int(entry.memory_gb * 1024) == tasks.mem_capacity:
            return energy_gpu(name, "kavier")
    raise InputError("the tasks do not say which GPU they ran on: give --gpu NAME")


def _hourly_joules(path: Path, capacity: float, watts: Floats) -> Floats:
    """Sum the joules of the fragments by the hour in which they begin."""
    from servetwin.cost.energy.parquet_columns import number_columns

    if not capacity > 0:
        raise InputError("the tasks name no gpu_capacity, so their utilisation is not known")
    totals = np.zeros(1)
    clock = 0.0
    for batch in number_columns(path, f"{FRAGMENTS} beside the tasks", ("duration", "gpu_usage")):
        duration, share = batch["duration"], batch["gpu_usage"] / capacity
        if share.size and share.max() > 1.001:
            raise InputError(f"'{path}': gpu_usage exceeds the gpu_capacity of the tasks")
        level = np.minimum(np.rint(share * (LEVELS - 1)), LEVELS - 1).astype(np.int64)
        ends = clock + np.cumsum(duration)
        if ends.size and ends[-1] > MOST_HOURS * MS_PER_HOUR:
            raise InputError(f"'{path}': its durations add up to over {MOST_HOURS:,} hours")
        hour = ((ends - duration) // MS_PER_HOUR).astype(np.int64)
        clock = float(ends[-1]) if ends.size else clock
        found = np.bincount(hour, watts[level] * duration / 1000)
        totals = np.pad(totals, (0, max(0, found.size - totals.size)))
        totals[: found.size] += found
    return totals


def write_power(path: Path, found: PostProcessed) -> None:
    """Write generated power as OpenDC's columns, one row an hour; read_power_source reads it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    assert found.hourly is not None, "power was read, not generated"
    joules, grams = found.hourly
    hours = np.arange(1, joules.size + 1, dtype=np.int64)
    table: dict[str, Any] = {
        "timestamp": hours * MS_PER_HOUR,
        "source_name": [f"servetwin, {GENERATED}"] * joules.size,
        "power_draw": joules / 3600,
        "energy_usage": joules,
    }
    if grams is not None:
        table["carbon_emission"] = grams
    pq.write_table(pa.table(table), path)
