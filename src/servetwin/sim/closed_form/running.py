"""From a workload and a closed form to times, totals and a RunResult.

Requests never meet: there is no queue, no batch and no other request. Totals are therefore
serial sums, device hours rather than a makespan.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from servetwin import __version__
from servetwin.cache.prompt_cache import PromptCache, PromptHits, PromptKeys, look_up, prompt_keys
from servetwin.errors import counted
from servetwin.sim.closed_form.checks import check_clock, exact_sum, token_column
from servetwin.sim.closed_form.fragments import FragmentPlan, plan_fragments
from servetwin.sim.closed_form.model import ClosedForm, Requests
from servetwin.types import RequestTable, RunResult, Status, Workload
from servetwin.units import PS_PER_S
from servetwin.workload import summarize

__all__ = ["ClosedFormOptions", "ClosedFormResult", "run_closed_form"]

Ints = NDArray[np.int64]

PS_PER_HOUR = 3600 * PS_PER_S


@dataclass(frozen=True)
class ClosedFormOptions:
    """What a run can be asked for."""

    kv_cache: bool = True
    prompt_cache: PromptCache | None = None
    """None: no cache of prompts at all."""
    prefix_keys: PromptKeys | None = None
    """Taken from the workload's block hashes where absent."""


@dataclass(frozen=True)
class ClosedFormResult:
    """Times of every request, what the prompt cache found, and how long that took."""

    workload: Workload
    model: ClosedForm
    options: ClosedFormOptions
    requests: Requests
    hits: PromptHits | None
    """None without a prompt cache."""
    wall_s: float
    """Real seconds of the computation."""
    notes: tuple[str, ...] = field(default_factory=tuple)

    @property
    def prefill_ps(self) -> int:
        """Prefill of all requests, one after the other; a Python int, which cannot run over."""
        return exact_sum(self.requests.prefill)

    @property
    def decode_ps(self) -> int:
        """Decode of all requests, one after the other."""
        return exact_sum(self.requests.decode)

    @property
    def prefill_hours(self) -> float:
        """GPU hours of prefill."""
        return self.prefill_ps / PS_PER_HOUR

    @property
    def decode_hours(self) -> float:
        """GPU hours of decode."""
        return self.decode_ps / PS_PER_HOUR

    @property
    def simulated_s(self) -> float:
        """Seconds of all requests, one after the other."""
        return (self.prefill_ps + self.decode_ps) / PS_PER_S

    @property
    def hit_ratio(self) -> float:
        """Hits over all requests, those too short to be cached among them."""
        return self.hits.hits / len(self.workload) if self.hits else 0.0

    def arrivals(self) -> Ints:
        """Arrival of every request, picoseconds; follow-ups after their parent is done."""
        workload = self.workload
        arrival = workload.arrival.copy()
        if workload.parent is not None and workload.closed_loop:
            from servetwin.sim.closed_form.kernels import follow_ups

            think = workload.think_time
            total = self.requests.prefill + self.requests.decode
            assert think is not None, "a closed loop has think times"
            follow_ups(workload.parent, think, total, arrival)
            late = (workload.parent >= 0) & (arrival < 0)
            check_clock("wait for its parents", np.where(late, 1e19, 0.0))
        return arrival

    def fragments(self, export_rate: float) -> FragmentPlan:
        """Cut the requests into fragments of `export_rate` seconds."""
        return plan_fragments(self.model, self.requests, export_rate, self.options.kv_cache)

    def summary(self) -> dict[str, Any]:
        """Totals in values that JSON can hold; simulated time stands against real time."""
        return {
            "model": self.model.name,
            "requests": len(self.workload),
            "input_tokens": exact_sum(self.workload.input_tokens.astype(np.int64)),
            "output_tokens": exact_sum(self.workload.output_tokens.astype(np.int64)),
            "kv_cache": self.options.kv_cache,
            "prefill_h": self.prefill_hours,
            "decode_h": self.decode_hours,
            "total_h": self.prefill_hours + self.decode_hours,
            "cache_hits": self.hits.hits if self.hits else 0,
            "cache_evictions": self.hits.evictions if self.hits else 0,
            "hit_ratio": self.hit_ratio,
            "simulated_s": self.simulated_s,
            "wall_s": self.wall_s,
            "simulated_over_real": self.simulated_s / self.wall_s if self.wall_s else None,
            "notes": list(self.notes),
        }

    def to_run_result(self) -> RunResult:
        """The run as any other: each request starts when it arrives, alone.

        The first token comes at the end of the prefill. `cached_tokens` are those of the
        prefix that hit.
        """
        arrival, requests = self.arrivals(), self.requests
        total = requests.prefill + requests.decode
        check_clock("end", arrival.astype(np.float64) + total.astype(np.float64))
        n, cached = len(self.workload), requests.cached_tokens
        return RunResult(
            kind="simulated",
            config={**self.model.config, **_settings(self.options)},
            provenance={
                "servetwin": __version__,
                "cost_model": {"level": "derived", "source": self.model.source},
                "simulator": f"closed form: {self.model.name}",
                "simulated_s": self.simulated_s,
                "wall_s": self.wall_s,
            },
            workload=summarize(self.workload),
            requests=RequestTable(
                arrival=arrival,
                first_scheduled=arrival,
                first_token=arrival + requests.prefill,
                finish=arrival + total,
                input_tokens=self.workload.input_tokens,
                output_tokens=self.workload.output_tokens,
                preemptions=np.zeros(n, np.int32),
                replica=np.zeros(n, np.int32),
                status=np.full(n, Status.OK, np.int8),
                session_id=self.workload.session_id,
                cached_tokens=None if cached is None else cached.astype(np.int32),
            ),
            notes=self.notes,
        )


_DEFAULTS = ClosedFormOptions()


def run_closed_form(
    workload: Workload, model: ClosedForm, options: ClosedFormOptions = _DEFAULTS
) -> ClosedFormResult:
    """Compute the time of every request of `workload` by itself.

    Deterministic, apart from `wall_s`. Raises InputError where a request outlasts the clock,
    or prefix keys do not fit the requests.
    """
    start = time.perf_counter()
    given = token_column("input_tokens", workload.input_tokens)
    made = token_column("output_tokens", workload.output_tokens)
    prefill = model.prefill(given)
    decode = model.decode(given, made, options.kv_cache)
    hits, keys, cached = None, None, None
    if options.prompt_cache is not None:
        settings = options.prompt_cache
        keys = options.prefix_keys or prompt_keys(workload, settings.min_tokens)
        keys.check(given)
        hits = look_up(keys, settings, workload.session_id)
        if settings.policy != "none":
            prefill[hits.hit] = model.prefill_after_hit(given[hits.hit], keys.shared_tokens)
            cached = np.where(hits.hit, keys.shared_tokens, 0)
        if settings.policy == "full":
            prefill[hits.hit] = 0
            decode[hits.hit] = 0
    check_clock("prefill and decode", prefill.astype(np.float64) + decode.astype(np.float64))
    return ClosedFormResult(
        workload=workload,
        model=model,
        options=options,
        requests=Requests(given, made, prefill, decode, cached),
        hits=hits,
        wall_s=time.perf_counter() - start,
        notes=_notes(workload, model, keys),
    )


def _notes(workload: Workload, model: ClosedForm, keys: PromptKeys | None) -> tuple[str, ...]:
    notes = ["closed form: requests never meet, so there is no queue and no batch"]
    if keys is not None:
        notes += keys.notes
    if model.max_tokens:
        total = workload.input_tokens.astype(np.int64) + workload.output_tokens
        beyond = int(np.count_nonzero(total > model.max_tokens))
        if beyond:
            notes.append(
                f"{counted(beyond, 'request')} with more than the {model.max_tokens:,} tokens "
                "that the model or its KV cache can hold: an engine would reject "
                f"{'it' if beyond == 1 else 'them'}"
            )
    return (*model.notes, *notes)


def _settings(options: ClosedFormOptions) -> dict[str, Any]:
    chosen: dict[str, Any] = {"closed_form": True, "kv_cache": options.kv_cache}
    if (cache := options.prompt_cache) is not None:
        chosen |= {
            "prefix_cache_min_tokens": cache.min_tokens,
            "max_cached_prompts": cache.max_prompts,
            "cache_scope": cache.scope,
            "prefix_cache_policy": cache.policy,
            "prompt_cache_sharing": cache.sharing,
        }
    return chosen
