"""From the flags of DéjàVu's two simulators to a run and its RunResult."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from servetwin import __version__
from servetwin.errors import InputError
from servetwin.sim.pipeline import (
    Load,
    Pipeline,
    PipelineRun,
    Ring,
    Split,
    grouped_arrivals,
    run_pipeline,
)
from servetwin.sim.pipeline.arrivals import SEED
from servetwin.studies.dejavu.requests import Found, find_trace, read_arrivals
from servetwin.types import RequestTable, RunResult, Status, Workload
from servetwin.units import PS_PER_S
from servetwin.workload import summarize

__all__ = ["Asked", "Done", "SharedLink", "simulate"]


@dataclass(frozen=True)
class SharedLink:
    """A link that carries one KV cache at a time."""

    gbs: float
    """10**9 bytes a second."""
    bytes_per_token: float

    @staticmethod
    def of(gbs: float, bytes_per_token: float) -> SharedLink | None:
        """None where neither is given. Raises InputError where only one is, or not positive."""
        for flag, value in (("--link_gbs", gbs), ("--kv_bytes_per_token", bytes_per_token)):
            if not 0 <= value < math.inf:
                raise InputError(f"{flag} {value:g}: must be a number above 0")
        if (gbs > 0) != (bytes_per_token > 0):
            raise InputError("--link_gbs and --kv_bytes_per_token go together, both above 0")
        return SharedLink(gbs, bytes_per_token) if gbs > 0 else None

    def microseconds(self, tokens: NDArray[np.integer]) -> NDArray[np.float64]:
        """Time of each KV cache of so many tokens."""
        return np.asarray(tokens * (self.bytes_per_token / (self.gbs * 1e9) * 1e6))


@dataclass(frozen=True)
class Asked:
    """Flags of one of the simulators, but for the trace."""

    study: str
    pipeline: Pipeline
    semantics: str
    requests: int
    rps: float
    arrivals: Path | None
    prompt_tokens: int = 0
    link: SharedLink | None = None

    def config(self, trace: Path | None) -> dict[str, Any]:
        """Every flag by its name."""
        pipeline = self.pipeline
        if isinstance(pipeline, Ring):
            stages: dict[str, Any] = {"num_machines": pipeline.stages}
        else:
            stages = {
                "num_prompt_machines": pipeline.prompt_stages,
                "num_token_machines": pipeline.token_stages,
                "cache_time": pipeline.cache_us / 1000,
                "prompt_slots": pipeline.waiting,
                "link_gbs": self.link.gbs if self.link else 0.0,
                "kv_bytes_per_token": self.link.bytes_per_token if self.link else 0.0,
            }
        return {
            "study": self.study,
            "semantics": self.semantics,
            **stages,
            "prompt_time": pipeline.prompt_us / 1000,
            "token_time": pipeline.token_us / 1000,
            "rps": None if self.arrivals else self.rps,
            "arrivals": None if self.arrivals is None else str(self.arrivals),
            "trace_file": None if trace is None else str(trace),
            "requests": self.requests,
            "prompt_tokens": self.prompt_tokens,
        }


@dataclass(frozen=True)
class Done:
    """A run, the same run in the other semantics where it has one, and the RunResult."""

    asked: Asked
    run: PipelineRun
    other: PipelineRun | None
    result: RunResult
    stand_in: str = ""
    """What takes the place of the trace, empty where it was read."""


def simulate(asked: Asked, trace: Path | None) -> Done:
    """Read what is asked for and simulate it. Raises InputError."""
    found = find_trace(trace, asked.requests)
    load, notes = _load(asked, found)
    run = run_pipeline(asked.pipeline, load, asked.semantics)
    result = _result(run, found.workload, asked.config(trace), (*found.notes, *notes))
    return Done(asked, run, _other(run), result, found.stand_in)


def _load(asked: Asked, found: Found) -> tuple[Load, tuple[str, ...]]:
    pipeline, n, notes = asked.pipeline, found.rounds.size, _notes(asked, found.workload)
    if asked.arrivals is not None:
        if asked.rps:
            raise InputError("--arrivals and --rps exclude each other")
        arrivals, more = read_arrivals(asked.arrivals, n)
        notes += more
    else:
        group = pipeline.machines if asked.semantics == "original" else 1
        arrivals = grouped_arrivals(n, asked.rps, group)
    tokens = found.workload.input_tokens
    prompt_us = cache_us = None
    if asked.prompt_tokens:
        prompt_us = pipeline.prompt_us * (tokens / asked.prompt_tokens)
    if asked.link:
        cache_us = asked.link.microseconds(tokens)
    try:
        return Load(found.rounds, arrivals, prompt_us, cache_us), notes
    except ValueError:
        raise InputError(
            "with its tokens, a prompt or the transfer of its KV cache takes longer than 6 hours"
        ) from None


def _notes(asked: Asked, workload: Workload) -> tuple[str, ...]:
    notes: list[str] = []
    if asked.semantics == "original":
        notes.append(
            "original semantics: work waits for requests that have yet to arrive, and the first "
            "begin without having arrived; --semantics causal does not"
        )
        if asked.rps and not asked.arrivals:
            size, group = asked.pipeline.machines, "requests at once"
            notes.append(f"arrivals are groups of {size} {group}, --rps a second; leftovers at 0")
    if workload.arrival[-1] > 0 and workload.source != "generated":
        notes.append("the trace's own arrivals are not used: give --rps or --arrivals")
    notes.append("a microbatch's first token is that of its first round after the prompt")
    return tuple(notes)


def _other(run: PipelineRun) -> PipelineRun | None:
    """The same load in the other semantics, None where it cannot be had."""
    other = "causal" if run.semantics == "original" else "original"
    try:
        return run_pipeline(run.pipeline, run.load, other)
    except InputError:
        return None


def _result(
    run: PipelineRun, workload: Workload, config: dict[str, Any], notes: tuple[str, ...]
) -> RunResult:
    n = len(run.load)
    arrival = np.rint(run.load.arrival_us * 1e6).astype(np.int64)
    table = RequestTable(
        arrival=arrival,
        first_scheduled=run.begin,
        first_token=run.first_token,
        finish=run.completion,
        input_tokens=workload.input_tokens,
        output_tokens=run.load.rounds.astype(np.int32),
        preemptions=np.zeros(n, np.int32),
        replica=np.zeros(n, np.int32),
        status=np.full(n, Status.OK, np.int8),
        kv_transfer=run.transfer if isinstance(run.pipeline, Split) else None,
        completion_us=run.completion_us,
    )
    shown = replace(workload, arrival=np.zeros(n, np.int64), output_tokens=table.output_tokens)
    span = int(arrival.max() - arrival.min()) / PS_PER_S
    about = summarize(shown) | {"span_s": span, "rps": (n - 1) / span if span else None}
    return RunResult(
        kind="simulated",
        config=config,
        provenance={
            "servetwin": __version__,
            "seed": SEED,
            "command": None,
            "cost_model": {"level": "given", "source": "times given on the command line"},
        },
        workload=about,
        requests=table,
        notes=notes,
    )
