"""servetwin's own profiler against whole iterations of a model in PyTorch, on this CPU.

Needs PyTorch (pip install torch). One thread, timed by its processor time, so that other
programs on the machine hardly count. The models have random weights.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Figure, at_most
from benchmarks.torch_model import Decoder, Step
from servetwin.calibrate.profiler import (
    Backend,
    Effort,
    Limits,
    describe,
    open_backend,
    open_profile,
    plan_profile,
)
from servetwin.calibrate.profiler import measure as profile
from servetwin.catalog import find_accelerator, find_link, find_model
from servetwin.cost import resolve_settings
from servetwin.cost.profiles import cost_from_profiles
from servetwin.sim.reference.cost import duration
from servetwin.sim.reference.state import Batch, Request, Work
from servetwin.types import CostModel, Deployment, Model
from servetwin.units import PS_PER_S

__all__ = ["Comparison", "compare", "measure"]

MODELS = ("openai-community/gpt2", "HuggingFaceTB/SmolLM2-135M")
STEPS = (
    *(Step(decodes=many, context=context) for many in (1, 6, 24) for context in (100, 600)),
    *(Step(chunk=chunk) for chunk in (24, 100, 400, 900)),
    Step(chunk=200, done=400),
    Step(chunk=100, decodes=8, context=300),
)
"""No chunk and no context is one that the profiler times; a batch of one is."""
GOAL = 0.15


@dataclass(frozen=True)
class Comparison:
    """Seconds of one iteration."""

    step: Step
    predicted: float
    measured: float

    @property
    def error(self) -> float:
        return self.predicted / self.measured - 1.0


def measure(quick: bool) -> list[Figure]:
    """Median absolute error of each model; `quick` takes the profile of `--quick`."""
    figures = []
    for name in MODELS:
        with tempfile.TemporaryDirectory() as folder:
            start = time.monotonic()
            found = compare(find_model(name), Path(folder) / "profile", quick)
        for item in found:
            print(
                f"{name.split('/')[1]:<14} {item.step}: predicted {item.predicted * 1e3:.2f} ms, "
                f"measured {item.measured * 1e3:.2f} ms, {item.error:+.1%}"
            )
        print(f"{name}: {time.monotonic() - start:.0f} s")
        median = statistics.median(abs(item.error) for item in found)
        figures.append(at_most(f"{name.split('/')[1]}: median error", median, GOAL, ""))
    return figures


def compare(
    model: Model, folder: Path, quick: bool, steps: Sequence[Step] = STEPS
) -> list[Comparison]:
    """Profile the model in bf16 on one thread, then run each step of it."""
    backend = open_backend("cpu", "bf16", threads=1)
    plan = plan_profile(model, 1, backend.element, Limits(backend.free_memory(), quick=quick))
    meta = describe(hardware="CPU", model=model.name, dtype="bf16", machine=backend.machine())
    profile(backend, plan, open_profile(folder, 1, meta), Effort.of(quick), lambda _done: None)
    cost = _cost(model, folder)
    return [
        Comparison(step, predicted_seconds(cost, step), seconds)
        for step, seconds in zip(steps, _measured(backend, model, steps), strict=True)
    ]


def _cost(model: Model, folder: Path) -> CostModel:
    accelerator = find_accelerator("CPU")
    settings = resolve_settings(model, accelerator, max_num_seqs=64, quantization="bf16")
    deployment = Deployment(model, accelerator, find_link(accelerator.link), settings=settings)
    return cost_from_profiles(deployment, folder, 1000)


def predicted_seconds(cost: CostModel, step: Step) -> float:
    """What the simulator takes the iteration to last."""
    nobody = Request(0, step.context + step.chunk, 1, 0)
    work = [Work(nobody, 1, step.context - 1, decode=True, samples=True)] * step.decodes
    if step.chunk:
        work.append(Work(nobody, step.chunk, step.done, decode=False, samples=True))
    return duration(cost.iteration, Batch(work)) / PS_PER_S


def _measured(backend: Backend, model: Model, steps: Sequence[Step]) -> list[float]:
    room = Step(*(max(getattr(step, name) for step in steps) for name in Step.__annotations__))
    with backend.torch.inference_mode():
        decoder = Decoder(backend.torch, model, backend.dtype, room)
        return [_median_of(backend, decoder, step) for step in steps]


def _median_of(backend: Backend, decoder: Decoder, step: Step) -> float:
    tokens = [1] * (step.chunk + step.decodes)
    decoder.run(step, tokens)
    samples = []
    for _ in range(7):
        start = backend.clock()
        decoder.run(step, tokens)
        samples.append(backend.clock() - start)
    return statistics.median(samples)
