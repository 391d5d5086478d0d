"""RunSettings -> Workload: a trace, a preset, or lengths and arrivals."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from servetwin.cli.settings import RunSettings
from servetwin.errors import InputError, counted
from servetwin.types import Workload
from servetwin.units import NOT_YET
from servetwin.workload import (
    GeneratorSpec,
    Sessions,
    at_rate,
    draw_adapters,
    draw_priorities,
    generate,
    marconi_equivalent,
    parse_adapters,
    parse_arrivals,
    parse_lengths,
    parse_priorities,
    preset,
    read,
    take,
    with_arrivals,
    without_long,
)
from servetwin.workload.arrivals import schedule
from servetwin.workload.lengths import Lengths
from servetwin.workload.notation import parse_think

__all__ = ["build_workload"]

GENERATED = 1000
"""Requests that are generated where nobody says how many."""

MARCONI = "marconi-equivalent"
"""Beside the presets: each of its requests is fixed, as in a trace."""


def build_workload(settings: RunSettings) -> Workload:
    """Read or generate the requests. Raises InputError where the settings name none."""
    workload = _requests(settings)
    if settings.priorities is not None:
        mix = parse_priorities(settings.priorities)
        workload = draw_priorities(workload, mix, settings.seed)
    if settings.adapters is not None:
        workload = draw_adapters(workload, parse_adapters(settings.adapters), settings.seed)
    return workload


def _requests(settings: RunSettings) -> Workload:
    if settings.trace is not None:
        return _from_trace(settings, settings.trace)
    if settings.format is not None or settings.map is not None:
        raise InputError("--format and --map describe a trace: give --trace FILE")
    if settings.workload is not None:
        return _from_preset(settings, settings.workload)
    if settings.isl is not None and settings.osl is not None:
        return _without_long(settings, generate(_spec(settings, settings.isl, settings.osl)))
    if settings.isl is not None or settings.osl is not None:
        raise InputError("--isl and --osl belong together: give both")
    raise InputError("no workload: give --trace FILE, --workload PRESET, or --isl and --osl")


def _from_trace(settings: RunSettings, path: str) -> Workload:
    _refuse_sessions(settings, path)
    workload = read(Path(path), format=settings.format, mapping=settings.map)
    return _replayed(settings, workload, path)


def _refuse_sessions(settings: RunSettings, name: str) -> None:
    if settings.turns is not None or settings.think is not None:
        raise InputError(
            f"--turns and --think make sessions of generated requests; {name} has its own"
        )


def _replayed(settings: RunSettings, workload: Workload, name: str) -> Workload:
    """Cut requests that exist to the number wanted, and let them arrive as wanted."""
    workload = _without_long(settings, workload)
    if settings.requests is not None:
        if settings.requests > len(workload):
            raise _too_few(settings, workload, name)
        workload = take(workload, settings.requests)
    if settings.arrivals is not None:
        return _with_arrivals(workload, settings, settings.arrivals)
    if settings.rps is None:
        return workload
    if _roots(workload) < 2 or workload.span_ps > 0:
        return at_rate(workload, settings.rps)
    what = "sessions" if workload.closed_loop else "requests"
    note = f"{what} without times of their own come as a Poisson process"
    workload = replace(workload, notes=(*workload.notes, note))
    return _with_arrivals(workload, settings, "poisson")


def _without_long(settings: RunSettings, workload: Workload) -> Workload:
    limit = settings.max_total_tokens
    return workload if limit is None else without_long(workload, limit)


def _too_few(settings: RunSettings, workload: Workload, name: str) -> InputError:
    found = counted(len(workload), "request")
    if settings.max_total_tokens is not None:
        found += f" of at most {counted(settings.max_total_tokens, 'token')}"
    return InputError(f"--requests {settings.requests}: {name} has only {found}")


def _roots(workload: Workload) -> int:
    """Count the requests that wait for no other: in a closed loop, one or more a session."""
    return int(np.count_nonzero(workload.arrival != NOT_YET))


def _with_arrivals(workload: Workload, settings: RunSettings, arrivals: str) -> Workload:
    """Draw new arrivals. In a closed loop, follow-ups keep their parents and think times."""
    random = np.random.Generator(np.random.PCG64(settings.seed))
    columns = schedule(parse_arrivals(arrivals, settings.rps), _roots(workload), random)
    if not workload.closed_loop:
        return replace(
            workload,
            arrival=columns.arrival,
            parent=columns.parent,
            think_time=columns.think_time,
        )
    if columns.parent is not None:
        raise InputError(
            f"--arrivals {arrivals}: the sessions of {workload.name} wait for their answers "
            "already; give an open process such as poisson"
        )
    return with_arrivals(workload, columns.arrival)


def _from_preset(settings: RunSettings, name: str) -> Workload:
    if name.strip().casefold() == MARCONI:
        if settings.isl is not None or settings.osl is not None:
            raise InputError(f"--isl and --osl: {MARCONI} has lengths of its own, leave them away")
        _refuse_sessions(settings, MARCONI)
        return _replayed(settings, marconi_equivalent(), MARCONI)
    workload = _without_long(settings, generate(_preset_spec(settings, name)))
    if settings.rps is None or settings.arrivals is not None or _roots(workload) < 2:
        return workload
    # A preset's rate drifts, so that a part of it comes faster or slower than was asked for.
    return at_rate(workload, settings.rps)


def _preset_spec(settings: RunSettings, name: str) -> GeneratorSpec:
    """Take the preset's distributions, but for those that are given."""
    if settings.arrivals is None:
        spec = preset(name, settings.requests, settings.rps, settings.seed)
    else:
        # The rate only satisfies a preset that has none; the given arrivals replace it.
        spec = preset(name, settings.requests, settings.rps or 1.0, settings.seed)
        spec = replace(spec, arrivals=parse_arrivals(settings.arrivals, settings.rps))
    if settings.isl is not None:
        spec = replace(spec, input=_lengths("isl", settings.isl))
    if settings.osl is not None:
        spec = replace(spec, output=_lengths("osl", settings.osl))
    return replace(spec, sessions=_sessions(settings))


def _spec(settings: RunSettings, isl: str, osl: str) -> GeneratorSpec:
    arrivals = settings.arrivals or ("once" if settings.rps is None else "poisson")
    return GeneratorSpec(
        requests=GENERATED if settings.requests is None else settings.requests,
        input=_lengths("isl", isl),
        output=_lengths("osl", osl),
        arrivals=parse_arrivals(arrivals, settings.rps),
        seed=settings.seed,
        sessions=_sessions(settings),
    )


def _sessions(settings: RunSettings) -> Sessions | None:
    if settings.turns is not None:
        return Sessions(_lengths("turns", settings.turns), parse_think(settings.think or "0s"))
    if settings.think is not None:
        raise InputError("--think is the pause between turns: give --turns, too")
    return None


def _lengths(flag: str, text: str) -> Lengths:
    """Read lengths; errors name the flag."""
    try:
        return parse_lengths(text)
    except InputError as error:
        hint = ""
        if match := re.fullmatch(r"(\d+)k", text.strip().casefold()):
            hint = f"; write {1024 * int(match[1])} or {1000 * int(match[1])}"
        raise InputError(f"--{flag}: {error}{hint}") from None
