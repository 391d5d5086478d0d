"""How often a run records its timeline: as asked, or often enough for its length."""

from __future__ import annotations

from servetwin.cli.settings import RunSettings
from servetwin.errors import InputError
from servetwin.types import Workload
from servetwin.units import PS_PER_S, ps_from_seconds
from servetwin.workload.notation import parse_duration

__all__ = ["USUAL", "default_interval", "interval_asked", "lasting_interval", "written"]

USUAL = PS_PER_S
"""Picoseconds between rows of a run that is not long."""

STEPS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600)
"""Seconds between rows that are chosen from where nobody has asked for any."""

ENOUGH_ROWS = 2_000_000
"""Rows of all replicas together; more would fill files, not charts."""

CLOCK_S = 106 * 86_400
"""Longest run that the clock can time, in seconds."""


def interval_asked(settings: RunSettings) -> int | None:
    """Picoseconds between rows, 0 for no timeline, None where nobody has said.

    Raises InputError.
    """
    text = settings.snapshot_interval
    if text is None:
        return None
    try:
        seconds = parse_duration(text)
        interval = int(ps_from_seconds(seconds))
        if interval < 0 or (seconds and not interval):
            raise ValueError("negative, or shorter than the clock's step")
    except (ValueError, InputError):
        raise InputError(
            f"--snapshot-interval {text}: write 100ms, 1s, 5m, or 0s for none"
        ) from None
    return interval


def default_interval(workload: Workload, replicas: int) -> int:
    """Picoseconds between rows that suit the time over which requests are known to arrive."""
    return _at_most(ENOUGH_ROWS, workload.span_ps / PS_PER_S, replicas)


def lasting_interval(rows: int, replicas: int) -> int:
    """Picoseconds between rows with which no run has more than `rows`."""
    return _at_most(rows, CLOCK_S, replicas)


def _at_most(rows: int, seconds: float, replicas: int) -> int:
    fits = (step for step in STEPS if seconds / step * replicas <= rows)
    return next(fits, STEPS[-1]) * PS_PER_S


def written(interval: int) -> str:
    """Write whole seconds as `--snapshot-interval` takes them: 20s, 5m."""
    seconds = interval // PS_PER_S
    return f"{seconds // 60}m" if seconds >= 60 and seconds % 60 == 0 else f"{seconds}s"
