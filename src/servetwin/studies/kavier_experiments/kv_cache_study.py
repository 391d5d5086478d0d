"""Experiment 2: hours and energy with and without KV cache, by both closed forms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from servetwin.cost.energy import EIGHT
from servetwin.errors import counted
from servetwin.sim.closed_form import ClosedFormOptions, ClosedFormResult, run_closed_form
from servetwin.studies.kavier.forms import kavier
from servetwin.studies.kavier.load import load_of
from servetwin.studies.kavier_experiments import energy
from servetwin.studies.kavier_experiments.models import WHOLE_MS, hours_of, ours
from servetwin.studies.kavier_experiments.outcome import Check, Column, Outcome, Row, Table
from servetwin.studies.kavier_experiments.published import published
from servetwin.studies.kavier_experiments.traces import load_trace

if TYPE_CHECKING:
    from servetwin.report.figures import Chart
    from servetwin.types import Workload

__all__ = ["run"]

TOLERANCE_H = 0.02
BAND_SECONDS = 60.0
"""How much of the run the figure of power over time shows."""
BAND_REQUESTS = 10_000
"""More than run in that time."""

HOURS = (
    Column("llm", "model"),
    Column("kv", "KV"),
    Column("form", "by"),
    Column("prefill_h", "prefill h", ",.2f"),
    Column("decode_h", "decode h", ",.2f"),
    Column("published_prefill_h", "publ. prefill", ",.2f"),
    Column("published_decode_h", "publ. decode", ",.2f"),
)
ENERGY = (
    Column("llm", "model"),
    Column("kv", "KV"),
    Column("form", "by"),
    Column("kwh", "kWh", ",.1f"),
    Column("kwh_low", "least", ",.1f"),
    Column("kwh_high", "most", ",.1f"),
    Column("carbon_kg", "kg CO2e", ",.1f"),
    Column("usd", "$", ",.0f"),
)


def run(
    trace: Path | None, quick: bool, price: str | None, carbon: str | None, pue: float
) -> Outcome:
    """Compute everything the experiment shows."""
    given, table = load_trace(trace, quick), published("kv_cache")
    gpu = ours(table["models"][0], table["gpu"]).deployment.accelerator
    rates = energy.rates_of(gpu, price, carbon, pue)
    hours, power, notes = [], [], list(given.notes)
    bands: dict[str, list[Row]] = {}
    for number, llm in enumerate(table["models"]):
        for kv in ("on", "off"):
            for form, result in _both(given.workload, llm, table["gpu"], kv == "on"):
                label = {"llm": llm, "kv": kv, "form": form}
                known = _published(number, kv) if form == "kavier" and given.comparable else {}
                hours.append(
                    {
                        **label,
                        "prefill_h": hours_of(result.requests.prefill, form),
                        "decode_h": hours_of(result.requests.decode, form),
                        "published_prefill_h": known.get("prefill"),
                        "published_decode_h": known.get("decode"),
                    }
                )
                power.append({**label, **energy.energy_row(result, gpu, rates)})
                if number == 0 and form == "servetwin":
                    load = load_of(result, slice(BAND_REQUESTS))
                    bands[kv] = energy.band_over_time(load, gpu, BAND_SECONDS)
                notes += [f"{llm}: {note}" for note in result.notes if "would reject" in note]
    notes += _notes(gpu.name)
    conditions = given.conditions("one after the other", f"one {table['gpu']}")
    return Outcome(
        study="kavier-2",
        title="Kavier, experiment 2: KV cache on and off, "
        f"{counted(len(given.workload), 'request')} on one {table['gpu']}",
        about={**given.about(), "power_of": gpu.name, "pue": pue, "quick": quick},
        tables={
            "hours": Table("GPU hours", hours, HOURS),
            "energy": Table("Energy by the meta-model, least and most of the eight", power, ENERGY),
        },
        checks=_checks(hours),
        charts=_charts((hours, power, bands), conditions),
        notes=list(dict.fromkeys(notes)),
    )


def _both(
    workload: Workload, llm: str, gpu: str, kv_cache: bool
) -> Iterator[tuple[str, ClosedFormResult]]:
    """Yield the name of each closed form, and its result."""
    options = ClosedFormOptions(kv_cache=kv_cache)
    for form in (kavier(llm, gpu), ours(llm, gpu)):
        yield form.name, run_closed_form(workload, form, options)


def _published(number: int, kv: str) -> dict[str, float]:
    table = published("kv_cache")
    return {"prefill": table["prefill_h"][number], "decode": table[f"decode_{kv}_h"][number]}


def _checks(hours: list[Row]) -> list[Check]:
    return [
        Check(
            f"{row['llm']}, KV {row['kv']}, {phase}",
            "h",
            row[f"{phase}_h"],
            row[f"published_{phase}_h"],
            TOLERANCE_H,
        )
        for row in hours
        for phase in ("prefill", "decode")
        if row["published_prefill_h"] is not None
    ]


def _charts(
    data: tuple[list[Row], list[Row], dict[str, list[Row]]], conditions: str
) -> dict[str, Callable[[], Chart]]:
    """Hours, energy and power over time; `data` are their rows in this order."""
    hours, power, bands = data
    names = [model.name for model in EIGHT]

    def hours_chart() -> Chart:
        from servetwin.report.kavier_cache_figures import kv_hours

        return kv_hours(hours, conditions)

    def energy_chart() -> Chart:
        from servetwin.report.kavier_cache_figures import kv_energy

        return kv_energy(power, names, conditions)

    def power_chart() -> Chart:
        from servetwin.report.kavier_cache_figures import power_over_time

        return power_over_time(bands, names, conditions)

    return {"hours": hours_chart, "energy": energy_chart, "power": power_chart}


def _notes(gpu: str) -> list[str]:
    return [
        WHOLE_MS,
        "servetwin's costs are derived, fitted to no measurement",
        f"watts are those of the catalog's {gpu}; energy was not published in figures that can "
        "be compared",
        "the meta-model is the one with the least error on held-out measurements; mean and "
        "median of the eight are in the files",
        "requests run one after the other: real engines batch them, in a fraction of the hours",
    ]
