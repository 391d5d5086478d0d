"""Simulate a Workload on a Deployment: a reference that defines, a kernel that is fast."""

from servetwin.sim.running import SimOptions, simulate

__all__ = ["SimOptions", "simulate"]
