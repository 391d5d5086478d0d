"""The fast simulator: the reference's answers, to the last digit, in flat arrays.

`state` names the arrays, `allocation` makes them, `cluster` runs the events. An iteration of
a replica is `plan` (what to compute), `cost` (how long it takes), `jump` (how many like it
follow) and `seats` (who joins and leaves). `driver` runs it all from Python, in slices, for
progress and for Ctrl-C.
"""

from servetwin.sim.kernel.driver import run

__all__ = ["run"]
