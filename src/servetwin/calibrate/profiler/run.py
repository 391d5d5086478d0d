"""All timings of a plan, one operation after another; what is finished is kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

from servetwin.calibrate.profiler.attention import attention_calls
from servetwin.calibrate.profiler.backend import Backend
from servetwin.calibrate.profiler.collectives import all_reduce_seconds, group
from servetwin.calibrate.profiler.folder import Profile
from servetwin.calibrate.profiler.operations import BUILDERS, Bench
from servetwin.calibrate.profiler.plan import ATTENTION, Plan, Point
from servetwin.calibrate.profiler.timing import Call, Effort, timed, timed_on_host

__all__ = ["measure"]

SAVE_EVERY = 5.0
"""Seconds after which finished timings are written."""


def measure(
    backend: Backend, plan: Plan, profile: Profile, effort: Effort, tell: Callable[[int], None]
) -> None:
    """Time what `profile` lacks, and write it.

    Tells how many timings of the plan are there. Whatever ends it early, also Ctrl-C, leaves
    a folder with the timings that were finished. Of a group of processes, only the first
    writes; all of them time the collectives.
    """
    bench = Bench(backend, plan.shapes, backend.free_memory())
    saved = time.monotonic()
    try:
        _measure_collectives(backend, plan, profile)
        if backend.rank:
            return
        with backend.torch.inference_mode():
            missing = profile.missing(plan)
            there = len(plan.points) - len(missing)
            for place, (point, seconds) in enumerate(_timings(bench, missing, effort), 1):
                profile.seconds[point] = seconds
                tell(there + place)
                if time.monotonic() > saved + SAVE_EVERY:
                    profile.save(plan)
                    saved = time.monotonic()
    finally:
        if not backend.rank:
            profile.save(plan)


def _measure_collectives(backend: Backend, plan: Plan, profile: Profile) -> None:
    points = [point for point in plan.points if point.layer == "all_reduce"]
    if not points:
        return
    hidden = plan.shapes.model.hidden_size
    with group(backend, plan.shapes.tp) as distributed:
        for point in points:
            seconds = all_reduce_seconds(backend, distributed, point.sizes[0], hidden)
            profile.seconds[point] = seconds


def _timings(
    bench: Bench, points: Sequence[Point], effort: Effort
) -> Iterator[tuple[Point, float]]:
    for (table, layer), same in groupby(points, key=lambda point: (point.table, point.layer)):
        # The data of an operation goes with this function, before that of the next is made.
        calls_of = _calls(bench, table, layer)
        for point in same:
            calls = calls_of(point.sizes)
            if layer == "host":
                yield point, timed_on_host(bench.backend, calls, effort)
            else:
                yield point, timed(bench.backend, calls, effort)
            del calls
        del calls_of


def _calls(bench: Bench, table: str, layer: str) -> Callable[[tuple[int, ...]], Sequence[Call]]:
    if table == ATTENTION:
        return lambda sizes: attention_calls(bench, sizes)
    build = BUILDERS[layer](bench)
    return lambda sizes: build(sizes[0])
