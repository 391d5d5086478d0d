"""The slow, obvious simulator: the definition of what the kernel must compute.

Every iteration of every replica is an event here. Read `replica` for the life of an
iteration, `schedulers` for what goes into it, `cluster` for the order of events.
"""

from servetwin.sim.reference.cluster import run

__all__ = ["run"]
