"""Power, energy, carbon and money of a deployment and of a run."""

from servetwin.cost.energy.footprint import Footprint, Rates
from servetwin.cost.energy.load import (
    DevicePower,
    LoadCurve,
    ServerPower,
    default_meta_model,
    device_power,
    server_power,
)
from servetwin.cost.energy.meta_power import Band, MetaModel
from servetwin.cost.energy.opendc import Efficiency, PowerSource, efficiency, read_power_source
from servetwin.cost.energy.power_models import EIGHT, PowerModel, find_power_model
from servetwin.cost.energy.rates import HourlySeries, read_rate
from servetwin.cost.energy.report import EnergyOptions, EnergyReport, energy_of
from servetwin.cost.energy.utilization import Utilization, Work, utilization

__all__ = [
    "EIGHT",
    "Band",
    "DevicePower",
    "Efficiency",
    "EnergyOptions",
    "EnergyReport",
    "Footprint",
    "HourlySeries",
    "LoadCurve",
    "MetaModel",
    "PowerModel",
    "PowerSource",
    "Rates",
    "ServerPower",
    "Utilization",
    "Work",
    "default_meta_model",
    "device_power",
    "efficiency",
    "energy_of",
    "find_power_model",
    "read_power_source",
    "read_rate",
    "server_power",
    "utilization",
]
