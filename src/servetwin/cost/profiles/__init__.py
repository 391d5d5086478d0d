"""Measured kernel timings -> cost models of the level `profiled`."""

from servetwin.cost.profiles.build import cost_from_profiles
from servetwin.cost.profiles.iteration import Tuning
from servetwin.cost.profiles.kernels import installed_tables
from servetwin.cost.profiles.skew import Contexts, contexts_of

__all__ = ["Contexts", "Tuning", "contexts_of", "cost_from_profiles", "installed_tables"]
