"""How much a GPU has to do while requests run one after the other, each alone.

`kavier` states one utilisation of the GPU over time, which is taken as its load. For
`servetwin` the load follows from the compute and memory utilisation of its prefill and its
decode (`docs/background/energy.md`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from servetwin.cost.energy import Work, device_power, utilization
from servetwin.sim.closed_form import ClosedForm, ClosedFormResult, Requests, Servetwin
from servetwin.units import seconds_from_ps

__all__ = ["Load", "load_of"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Load:
    """Pieces of constant load, in the order in which they run; shape (requests, pieces).

    Some may take no time.
    """

    seconds: Floats
    load: Floats
    """0 to 1."""


def load_of(result: ClosedFormResult, rows: slice = slice(None)) -> Load:
    """The load of the requests of `rows`. Raises InputError for a GPU without power limit."""
    requests, kv_cache = result.requests.part(rows), result.options.kv_cache
    if isinstance(result.model, Servetwin):
        return _by_work(result.model, requests, kv_cache)
    return _as_stated(result.model, requests, kv_cache)


def _as_stated(form: ClosedForm, requests: Requests, kv_cache: bool) -> Load:
    """Kavier's steps: 0.5 in the first and last 0.2 s, 0.95 between."""
    phases = form.phases(requests, kv_cache)
    whole = requests.prefill + requests.decode
    begin, end = np.minimum(phases.begin, whole), np.minimum(phases.end, whole)
    seconds = seconds_from_ps(np.stack([begin, end - begin, whole - end], 1))
    return Load(seconds, np.stack([phases.head, (phases.first + phases.last) / 2, phases.tail], 1))


def _by_work(form: Servetwin, requests: Requests, kv_cache: bool) -> Load:
    """Prefill, then decode, by what both do to arithmetic and memory."""
    curve = device_power(form.deployment.accelerator).curve
    works = _prefill_work(requests), _decode_work(requests, kv_cache)
    loads = [curve.load(utilization(form.deployment, work)) for work in works]
    seconds = seconds_from_ps(np.stack([requests.prefill, requests.decode], 1))
    return Load(seconds, np.stack(loads, 1))


def _prefill_work(requests: Requests) -> Work:
    given = requests.input_tokens.astype(np.float64)
    cached = requests.cached_tokens
    known = np.zeros(given.size) if cached is None else np.minimum(cached, given - 1)
    seconds = seconds_from_ps(requests.prefill)
    runs = (seconds > 0).astype(np.float64)
    return _work(
        seconds=seconds,
        iterations=runs,
        prefill_tokens=runs * (given - known),
        prefill_context=runs * (given * (given + 1) - known * (known + 1)) / 2,
        prompts=runs,
    )


def _decode_work(requests: Requests, kv_cache: bool) -> Work:
    """Steps that read the cache, or without one a prefill of all tokens for each step."""
    given = requests.input_tokens.astype(np.float64)
    seconds = seconds_from_ps(requests.decode)
    runs = (seconds > 0).astype(np.float64)
    steps = runs * np.maximum(requests.output_tokens - 1.0, 0.0)
    context = steps * given + steps * (steps + 1) / 2
    if kv_cache:
        return _work(seconds=seconds, iterations=steps, decode_tokens=steps, decode_context=context)
    last = given + steps
    # The sum of c (c + 1) / 2 over the contexts c after the prompt's own.
    pairs = (last * (last + 1) * (last + 2) - given * (given + 1) * (given + 2)) / 6
    return _work(
        seconds=seconds,
        iterations=steps,
        prefill_tokens=context,
        prefill_context=pairs,
        prompts=steps,
    )


def _work(**columns: Floats) -> Work:
    """Work with zeros in the columns that are not given."""
    zeros = np.zeros(columns["seconds"].size)
    return Work(**{name: columns.get(name, zeros) for name in Work.__dataclass_fields__})
