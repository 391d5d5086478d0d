"""How fast requests are computed one by one, cut into fragments, and written for OpenDC.

Rates are per second of CPU time of one thread, the best of three runs. Lengths are drawn
evenly, inputs up to 4,000 tokens and outputs up to 800; the model is Llama-3-8B on an A10.
Fragments are of 0.1 s, as in Kavier's default.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.figures import Figure, at_least, at_most
from benchmarks.memory import own_peak_megabytes
from servetwin.cache.prompt_cache import PromptCache, PromptKeys
from servetwin.catalog import find_accelerator, find_link, find_model
from servetwin.cost import derive, resolve_settings
from servetwin.sim.closed_form import (
    ClosedForm,
    ClosedFormOptions,
    ClosedFormResult,
    ExportOptions,
    Kavier,
    Servetwin,
    TaskTimes,
    find_kavier_gpu,
    find_kavier_model,
    run_closed_form,
    write_opendc,
)
from servetwin.types import Deployment, Workload

__all__ = ["measure"]

EXPORT_RATE = 0.1
PREFIXES = 1000


def closed_forms() -> dict[str, ClosedForm]:
    model, gpu = find_model("meta-llama/Meta-Llama-3-8B"), find_accelerator("A10")
    settings = resolve_settings(model, gpu, max_model_len=8192)
    target = Deployment(model, gpu, find_link(gpu.link), settings=settings)
    return {
        "kavier": Kavier(find_kavier_model("Llama-3-8B"), find_kavier_gpu("A10")),
        "servetwin": Servetwin(target, derive(target, 1000)),
    }


def load(requests: int) -> tuple[Workload, PromptKeys]:
    """Requests of eight turns a session, and a prefix of 512 tokens for those long enough."""
    rng = np.random.default_rng(1)
    inputs = rng.integers(1, 4001, requests).astype(np.int32)
    outputs = rng.integers(1, 801, requests).astype(np.int32)
    sessions = (np.arange(requests) // 8).astype(np.int32)
    workload = Workload(np.zeros(requests, np.int64), inputs, outputs, session_id=sessions)
    key = np.where(inputs >= 512, rng.integers(0, PREFIXES, requests), -1)
    return workload, PromptKeys(key, 512)


def best(action: Callable[[], object]) -> float:
    """CPU seconds, the least of three runs after one that compiles."""
    action()
    seconds = []
    for _ in range(3):
        start = time.process_time()
        action()
        seconds.append(time.process_time() - start)
    return min(seconds)


def requests_per_second(count: int) -> list[Figure]:
    workload, keys = load(count)
    options = {
        "": ClosedFormOptions(),
        ", prompt cache": ClosedFormOptions(
            prompt_cache=PromptCache(512, 10, "global"), prefix_keys=keys
        ),
        ", cache a session": ClosedFormOptions(prompt_cache=PromptCache(512, 10), prefix_keys=keys),
    }
    figures = []
    for name, model in closed_forms().items():
        for label, chosen in options.items():
            seconds = best(lambda m=model, o=chosen: run_closed_form(workload, m, o))  # type: ignore[misc]  # mypy infers no type for a lambda with defaults
            rate = count / seconds / 1e6
            figures.append(at_least(f"closed form, {name}{label}", rate, 10, "M req/s"))
    return figures


def result_of(model: ClosedForm, fragments: int) -> ClosedFormResult:
    """Enough requests for about so many fragments."""
    probe = run_closed_form(load(10_000)[0], model)
    count = round(10_000 * fragments / probe.fragments(EXPORT_RATE).total)
    return run_closed_form(load(count)[0], model)


def write(result: ClosedFormResult, folder: Path) -> tuple[int, int]:
    """Write both files; returns fragments, and bytes of their file."""
    workload = result.workload
    tokens = workload.input_tokens.astype(np.int64) + workload.output_tokens
    times = TaskTimes(result.arrivals(), tokens)
    written = write_opendc(folder, result.fragments(EXPORT_RATE), times, ExportOptions(1000))
    return written.fragment_rows, written.fragments.stat().st_size


def fragments_per_second(count: int) -> list[Figure]:
    figures = []
    for name, model in closed_forms().items():
        result = result_of(model, count)
        plan = result.fragments(EXPORT_RATE)
        rate = plan.total / best(lambda p=plan: sum(map(len, p.batches(1 << 16)))) / 1e6  # type: ignore[misc]  # mypy infers no type for a lambda with defaults
        figures.append(at_least(f"fragments in memory, {name}", rate, 50, "M/s"))
        with tempfile.TemporaryDirectory() as folder:
            seconds = best(lambda r=result, f=Path(folder): write(r, f))  # type: ignore[misc]  # mypy infers no type for a lambda with defaults
            rows, size = write(result, Path(folder))
        figures.append(at_least(f"fragments to Parquet, {name}", rows / seconds / 1e6, 5, "M/s"))
        figures.append(at_most(f"fragments, {name}", size / rows, 5, "B each"))
    return figures


def _peak_megabytes(count: int, folder: str, answer: multiprocessing.Queue[float]) -> None:
    write(result_of(closed_forms()["servetwin"], count), Path(folder))
    answer.put(own_peak_megabytes())


def memory(count: int) -> Figure:
    """Peak memory of a process that writes `count` fragments to Parquet."""
    context = multiprocessing.get_context("spawn")
    answer: multiprocessing.Queue[float] = context.Queue()
    with tempfile.TemporaryDirectory() as folder:
        process = context.Process(target=_peak_megabytes, args=(count, folder, answer))
        process.start()
        peak = answer.get()
        process.join()
    return at_most(f"{count / 1e6:g} M fragments, peak memory", peak, 600, "MB")


def measure(quick: bool) -> list[Figure]:
    """The closed form's figures; `quick` uses a tenth of the requests and fragments."""
    requests = 1_000_000 if quick else 10_000_000
    fragments = 10_000_000 if quick else 100_000_000
    return [
        *requests_per_second(requests),
        *fragments_per_second(fragments // 4),
        memory(fragments),
    ]


if __name__ == "__main__":
    for figure in measure(quick=False):
        print(figure)
