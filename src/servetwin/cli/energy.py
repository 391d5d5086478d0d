"""`--price`, `--carbon`, `--pue`: energy, carbon and money of a simulated run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from servetwin.cli.options import flag_of
from servetwin.errors import InputError

if TYPE_CHECKING:
    from servetwin.cli.build import Prepared
    from servetwin.cli.settings import RunSettings
    from servetwin.cost.energy import EnergyOptions, EnergyReport, Rates
    from servetwin.types import RunResult

__all__ = ["energy_options", "with_energy"]

RATES = {"price": "gpu_price", "carbon": "carbon", "electricity_price": "electricity_price"}
"""Settings that may be a number or a CSV file by the hour, and what `Rates` calls them."""


def energy_options(settings: RunSettings) -> EnergyOptions | None:
    """Read the rates; None where no timeline is wanted, from which energy is computed.

    Raises InputError for a bad rate, and for one that would have no effect.
    """
    from servetwin.cli.timeline import interval_asked
    from servetwin.cost.energy import EnergyOptions

    asked = [name for name in (*RATES, "pue") if getattr(settings, name) is not None]
    if interval_asked(settings) == 0:
        if asked:
            raise InputError(
                f"{flag_of(asked[0])}: energy is computed from the timeline, which "
                "--snapshot-interval 0s leaves out"
            )
        return None
    return EnergyOptions(_rates(settings))


def _rates(settings: RunSettings) -> Rates:
    from servetwin.cost.energy import Rates, read_rate

    given: dict[str, Any] = {
        name: read_rate(text, flag_of(setting))
        for setting, name in RATES.items()
        if (text := getattr(settings, setting)) is not None
    }
    if settings.pue is not None:
        given["pue"] = settings.pue
    return Rates(**given)


def with_energy(run: RunResult, prepared: Prepared, options: EnergyOptions | None) -> RunResult:
    """Add watts to the timeline, and joules, carbon and dollars to the result."""
    from servetwin.cost.energy import energy_of

    if options is None or run.timeline is None or len(run.timeline) == 0:
        return run
    groups = _priced(run.groups, options.rates)
    for kind in prepared.deployment.kinds:
        if kind.accelerator.max_watts is None:
            note = f"energy: the catalog knows no power limit of {kind.accelerator.name}"
            return replace(run, groups=groups, notes=(*run.notes, note))
    report = energy_of(run, prepared.deployment, prepared.cost, options)
    return replace(
        run,
        timeline=replace(run.timeline, power_w=report.power_w),
        footprint=report.summary(),
        groups=_groups(groups, report),
        notes=(*run.notes, *report.notes),
    )


def _priced(groups: list[dict[str, Any]] | None, rates: Rates) -> list[dict[str, Any]] | None:
    """Groups with the price that is given for all; unknown where it changes by the hour."""
    price = rates.gpu_price
    if groups is None or price is None:
        return groups
    one = float(price) if isinstance(price, (int, float)) else None
    return [{**group, "usd_per_gpu_hour": one} for group in groups]


def _groups(
    groups: list[dict[str, Any]] | None, report: EnergyReport
) -> list[dict[str, Any]] | None:
    """What is known of each group, and its joules."""
    if groups is None:
        return None
    pairs = zip(groups, report.joules_by_kind, strict=True)
    return [{**group, "energy_j": joules} for group, joules in pairs]
