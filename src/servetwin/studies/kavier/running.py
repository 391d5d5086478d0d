"""One simulation from its settings: read, compute, export, and what it came to."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from servetwin.cost.energy import Rates
from servetwin.errors import InputError
from servetwin.studies.kavier import forms
from servetwin.studies.kavier.forms import NO_CORRECTION
from servetwin.studies.kavier.power import RunEnergy, energy_gpu, run_energy
from servetwin.studies.kavier.settings import KavierRun

if TYPE_CHECKING:
    from servetwin.sim.closed_form import ClosedForm, ClosedFormResult
    from servetwin.types import Workload

__all__ = ["Done", "Job", "check_run", "closed_form", "run_one"]


@dataclass(frozen=True)
class Job:
    """What runs of one sweep share."""

    rates: Rates
    folder: Path | None = None
    """For tasks.parquet and fragments.parquet; None writes nothing."""
    progress: Callable[[int], None] | None = None
    """Told the number of fragments written so far."""


@dataclass(frozen=True)
class Done:
    """A finished run in plain values."""

    run: KavierRun
    figures: dict[str, Any]
    notes: tuple[str, ...] = field(default_factory=tuple)

    def describe(self) -> dict[str, Any]:
        """One entry of the JSON summary."""
        return {"settings": self.run.described(), **self.figures}


def closed_form(run: KavierRun) -> ClosedForm:
    """Build the formulas for a model and GPU. Raises InputError for unknown names."""
    if run.model == "servetwin":
        return forms.servetwin(run.llm, run.gpu, run.correction)
    if run.correction != NO_CORRECTION:
        raise InputError(f"--correction {run.correction} is one of --model servetwin")
    return forms.kavier(run.llm, run.gpu)


def check_run(run: KavierRun) -> None:
    """Raise InputError for names and rates that `run_one` would refuse, before any run."""
    from servetwin.sim.closed_form import Requests, plan_fragments

    nothing = np.zeros(0, np.int64)
    plan_fragments(closed_form(run), Requests(*[nothing] * 4), run.export_rate)


def run_one(run: KavierRun, workload: Workload, job: Job) -> Done:
    """Simulate, write OpenDC's files if there is a folder, and sum up.

    Raises InputError for whatever cannot be simulated or written; an interruption leaves
    readable partial files and passes on.
    """
    from servetwin.sim.closed_form import ClosedFormOptions, run_closed_form

    started = time.perf_counter()
    form = closed_form(run)
    options = ClosedFormOptions(run.kv_cache, run.prompt_cache() if run.caches_prefixes else None)
    result = run_closed_form(workload, form, options)
    energy, notes = _energy(run, result, job.rates)
    fragments, exported = _export(run, result, job)
    wall = time.perf_counter() - started
    summary = result.summary()
    figures = {
        **{key: value for key, value in summary.items() if key not in ("notes", "wall_s", "model")},
        "compute_s": result.wall_s,
        "wall_s": wall,
        "simulated_over_real": result.simulated_s / wall,
        "fragments": fragments,
        **_latency(result),
        "energy": None if energy is None else energy.describe(),
        "files": [str(path) for path in exported],
    }
    return Done(run, figures, (*result.notes, *_variant(run), *_costs(run, form), *notes))


def _variant(run: KavierRun) -> tuple[str, ...]:
    local = run.cache_scope == "session" and run.cache_variant == "per-session"
    if not (run.caches_prefixes and local):
        return ()
    return (
        "each session has an LRU of its own, as Kavier's reproducibility document says; its "
        "published hits are of one LRU for all sessions: --cache_variant shared-lru",
    )


def _costs(run: KavierRun, form: ClosedForm) -> tuple[str, ...]:
    """Say what the times of `servetwin` come from, and which correction they go without."""
    from servetwin.sim.closed_form import Servetwin, corrections

    if not isinstance(form, Servetwin):
        return ()
    costs = f"costs: {form.source}"
    if run.correction != NO_CORRECTION:
        return (costs,)
    target = form.deployment
    fits = [
        name
        for name, known in corrections().items()
        if (known.model, known.gpu) == (target.model.name, target.accelerator.name)
    ]
    if fits:
        costs += (
            f"; not fitted to the measured runs of {run.llm} on {run.gpu}, whose prefills took "
            f"longer: --correction {fits[0]}"
        )
    return (costs,)


def _energy(
    run: KavierRun, result: ClosedFormResult, rates: Rates
) -> tuple[RunEnergy | None, tuple[str, ...]]:
    try:
        energy = run_energy(result, energy_gpu(result.model.device.name, run.model), rates)
    except InputError as error:
        return None, (f"no energy: {error}",)
    return energy, energy.notes


def _export(run: KavierRun, result: ClosedFormResult, job: Job) -> tuple[int, tuple[Path, ...]]:
    from servetwin.sim.closed_form import ExportOptions, TaskTimes, write_opendc

    plan = result.fragments(run.export_rate)
    if job.folder is None:
        return plan.total, ()
    requests = result.requests
    times = TaskTimes(result.arrivals(), requests.input_tokens + requests.output_tokens)
    options = ExportOptions(flush_size=run.flush_size, progress=job.progress)
    written = write_opendc(job.folder, plan, times, options)
    return written.fragment_rows, (written.tasks, written.fragments)


def _latency(result: ClosedFormResult) -> dict[str, float]:
    """Mean and 95th percentile of the time of a request, which waits for nobody."""
    seconds = (result.requests.prefill + result.requests.decode) * 1e-12
    return {
        "latency_mean_s": float(seconds.mean()),
        "latency_p95_s": float(np.percentile(seconds, 95)),
    }
