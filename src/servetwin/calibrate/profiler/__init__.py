"""servetwin's own profiler: PyTorch operations of one layer, timed on this machine.

Only `backend` touches PyTorch, which is an extra: everything else works without it.
"""

from servetwin.calibrate.profiler.backend import DEVICES, Backend, open_backend
from servetwin.calibrate.profiler.folder import Profile, describe, open_profile
from servetwin.calibrate.profiler.plan import Limits, Plan, plan_profile
from servetwin.calibrate.profiler.run import measure
from servetwin.calibrate.profiler.timing import Effort

__all__ = [
    "DEVICES",
    "Backend",
    "Effort",
    "Limits",
    "Plan",
    "Profile",
    "describe",
    "measure",
    "open_backend",
    "open_profile",
    "plan_profile",
]
