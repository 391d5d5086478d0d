"""One request over time: tokens so far, KV cache and GPU utilisation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from servetwin.sim.closed_form.checks import token_column
from servetwin.sim.closed_form.fragments import MILLE, plan_fragments
from servetwin.sim.closed_form.model import ClosedForm, Requests

__all__ = ["RequestTimeline", "request_timeline"]

Floats = NDArray[np.float64]

MS_PER_S = 1000.0
MOST_ROWS = 1 << 20


@dataclass(frozen=True)
class RequestTimeline:
    """One row a fragment, at its start. Columns have shape (fragments,)."""

    t_s: Floats
    """Seconds since the request's start."""
    tokens: Floats
    """Input processed and output made so far, each growing evenly over its phase."""
    kv_bytes: Floats
    """On one device; 0 without KV cache."""
    kv_share: Floats
    """Of the device's memory; beyond 1 it would not fit."""
    gpu_utilisation: Floats
    """0 to 1, to a thousandth."""


def request_timeline(
    model: ClosedForm,
    input_tokens: int,
    output_tokens: int,
    export_rate: float,
    *,
    kv_cache: bool = True,
) -> RequestTimeline:
    """KV cache and GPU utilisation of one request, every `export_rate` seconds.

    Raises InputError for impossible tokens or rates.
    """
    given = token_column("input_tokens", np.asarray([input_tokens]), least=1)
    made = token_column("output_tokens", np.asarray([output_tokens]))
    prefill, decode = model.prefill(given), model.decode(given, made, kv_cache)
    requests = Requests(given, made, prefill, decode)
    plan = plan_fragments(model, requests, export_rate, kv_cache)
    usage = np.concatenate([batch.usage for batch in plan.batches(MOST_ROWS)]) / float(MILLE)
    t_s: Floats = np.arange(plan.total, dtype=np.float64) * (plan.step_ms / MS_PER_S)
    edge, whole = prefill[0] * 1e-12, (prefill[0] + decode[0]) * 1e-12
    tokens: Floats = np.interp(
        t_s, [0.0, edge, max(whole, edge)], [0, given[0], given[0] + made[0]]
    )
    kv_bytes = model.cache.of(tokens) if kv_cache else np.zeros_like(tokens)
    return RequestTimeline(t_s, tokens, kv_bytes, kv_bytes / model.device.memory, usage)
