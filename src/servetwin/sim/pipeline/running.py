"""Run a load through a pipeline: with the kernel, or with the reference that defines it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from servetwin.errors import InputError
from servetwin.sim.pipeline import causal, original
from servetwin.sim.pipeline.job import (
    SEMANTICS,
    Failures,
    Floats,
    Ints,
    Load,
    Pipeline,
    Ring,
    Split,
    ps_from_us,
)
from servetwin.units import CLOCK_END_PS, PS_PER_US

__all__ = ["PipelineRun", "run_pipeline"]


@dataclass(frozen=True)
class PipelineRun:
    """What happened to each microbatch; times in picoseconds (int64).

    Those of the original semantics are rounded; `completion_us` has its very float64.
    """

    pipeline: Pipeline
    load: Load
    semantics: str
    begin: Ints
    first_token: Ints
    """End of the first of the rounds that generate a token each."""
    completion: Ints
    transfer: Ints
    """From the end of the prompt until its KV cache is at the ring; 0 in a Ring."""
    completion_us: Floats
    early_stops: int
    """Completions while another microbatch had more than two tokens to generate."""
    lost: tuple[int, ...] = (0, 0, 0)
    """By failures: prompts and rounds that were done again, and passes that were interrupted."""

    @property
    def makespan_us(self) -> float:
        """Time of the last completion, counted from 0."""
        return float(self.completion_us.max())

    @property
    def latency_s_per_token(self) -> Floats:
        """Seconds from arrival to completion, by token generated, in the original's arithmetic."""
        seconds = (self.completion_us - self.load.arrival_us) / 1_000_000
        return np.asarray(seconds / self.load.rounds)

    def busy_us(self) -> Floats:
        """Time that each stage worked, prompts' stages first."""
        tokens = int(self.load.rounds.sum()) * self.pipeline.token_us
        prompts = len(self.load) * self.pipeline.prompt_us
        if self.load.prompt_us is not None:
            prompts = float(self.load.prompt_us.sum())
        if isinstance(self.pipeline, Ring):
            return np.full(self.pipeline.stages, prompts + tokens)
        stages = [prompts] * self.pipeline.prompt_stages, [tokens] * self.pipeline.token_stages
        return np.array([*stages[0], *stages[1]])

    def utilisation(self) -> Floats:
        """Share of the makespan in which each stage worked; the rest are bubbles."""
        return np.asarray(self.busy_us() / self.makespan_us)


def run_pipeline(
    pipeline: Pipeline,
    load: Load,
    semantics: str = "causal",
    *,
    kernel: bool = True,
    failures: Failures | None = None,
) -> PipelineRun:
    """Simulate with the kernel or the reference: the result is the same to the last bit.

    Machines fail in a causal Ring only. Raises InputError where `check` does, or where the
    run outlasts the clock's 106 days.
    """
    check(pipeline, load, semantics)
    if failures and (semantics != "causal" or isinstance(pipeline, Split)):
        raise ValueError("machines fail in a causal Ring only")
    if semantics == "original":
        return _original(pipeline, load, kernel)
    if kernel:
        from servetwin.sim.pipeline import causal_kernel

        out = causal_kernel.run(pipeline, load, failures)
    else:
        out = causal.reference(pipeline, load, failures=failures)
    return PipelineRun(
        pipeline,
        load,
        semantics,
        out.begin,
        out.first_token,
        out.completion,
        out.transfer,
        out.completion / PS_PER_US,
        out.early_stops,
        tuple(out.lost.tolist()),
    )


def _original(pipeline: Pipeline, load: Load, kernel: bool) -> PipelineRun:
    if kernel:
        from servetwin.sim.pipeline import original_kernel

        out = original_kernel.run(pipeline, load)
    else:
        out = original.reference(pipeline, load)
    if out.completion.max() * PS_PER_US > CLOCK_END_PS:
        raise InputError("the run lasts longer than the 106 days of the clock: ask for less")
    cache = pipeline.cache_us if isinstance(pipeline, Split) else 0.0
    return PipelineRun(
        pipeline,
        load,
        "original",
        _whole(out.begin),
        _whole(out.first_token),
        _whole(out.completion),
        _whole(np.full(len(load), cache)),
        out.completion,
        out.early_stops,
    )


def _whole(microseconds: Floats) -> Ints:
    return np.rint(microseconds * PS_PER_US).astype(np.int64)


def check(pipeline: Pipeline, load: Load, semantics: str) -> None:
    """Raise InputError where the semantics cannot be had for this pipeline."""
    if semantics not in SEMANTICS:
        raise InputError(f"--semantics {semantics}: must be one of {', '.join(SEMANTICS)}")
    if semantics == "causal":
        for name in ("prompt", "token"):
            if ps_from_us(getattr(pipeline, f"{name}_us")) < 1:
                raise InputError(
                    f"--{name}_time 0: must be above 0 ms in the causal semantics, where "
                    "what ends cannot begin at the same time"
                )
        if load.cache_us is not None and not (isinstance(pipeline, Split) and pipeline.shared_link):
            raise ValueError("KV caches have times of their own on a shared link only")
    elif not load.uniform or (
        isinstance(pipeline, Split) and (pipeline.shared_link or pipeline.waiting)
    ):
        raise InputError(
            "the original semantics know no prompts of different lengths, no shared link and no "
            "limit of prompts that wait: leave these options away, or give --semantics causal"
        )
