"""Seconds of one call: warmed up, synchronised, the median of repeats.

A call is timed as a model makes it: the same operation on the weights or caches of one layer
after another, which have left the caches of the device by the time they come around again.
Hence `calls`: the same operation on as many copies of its data.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from servetwin.calibrate.profiler.backend import Backend

__all__ = ["Call", "Effort", "timed", "timed_on_host"]

Call = Callable[[], object]

SAMPLE = 5e-3
"""Seconds that one run of a CUDA graph should take, so that the clock does not matter."""

NEIGHBOUR = 1024, 2048
"""Shape of a matrix of 4 MiB in bf16: more than the second-level cache of a core."""


@dataclass(frozen=True)
class Effort:
    """How long one timing may take."""

    seconds: float
    samples: int
    """At least so many, however long that takes."""

    @staticmethod
    def of(quick: bool) -> Effort:
        return Effort(0.08, 3) if quick else Effort(0.3, 5)


def timed(backend: Backend, calls: Sequence[Call], effort: Effort) -> float:
    """Seconds of one of `calls`, whose results are thrown away.

    On CUDA the calls are captured in a graph, so that only the device's time counts; where
    an operation cannot be captured, launching it counts too.
    """
    if backend.is_cuda:
        return _on_device(backend, calls, effort)
    return timed_on_host(backend, calls, effort)


def timed_on_host(backend: Backend, calls: Sequence[Call], effort: Effort) -> float:
    """Seconds of one call by a clock of the host; calls return when they are done.

    Between two calls, off the clock, a matrix is multiplied by a vector, as in a model: it
    takes the place of the operation's code and data in the caches. In a loop of nothing
    else, small operations take a quarter of the time that they take in a model.
    """
    neighbour = _neighbour(backend)
    for call in calls[:2]:
        call()
    overhead = _median_of(backend, [_nothing], neighbour, Effort(0.0, 9))
    return max(1e-9, _median_of(backend, calls, neighbour, effort) - overhead)


def _median_of(backend: Backend, calls: Sequence[Call], neighbour: Call, effort: Effort) -> float:
    clock, end = backend.clock, time.perf_counter() + effort.seconds
    samples: list[float] = []
    while len(samples) < effort.samples or time.perf_counter() < end:
        call = calls[len(samples) % len(calls)]
        neighbour()
        start = clock()
        call()
        samples.append(clock() - start)
    return statistics.median(samples)


def _neighbour(backend: Backend) -> Call:
    if backend.is_cuda:
        return _nothing  # which the host does not compute
    matrix, vector = backend.tensor(*NEIGHBOUR), backend.tensor(1, NEIGHBOUR[1])
    return partial(backend.torch.nn.functional.linear, vector, matrix)


def _nothing() -> None:
    pass


def _on_device(backend: Backend, calls: Sequence[Call], effort: Effort) -> float:
    cuda = backend.torch.cuda
    end = time.perf_counter() + effort.seconds
    count, run = _captured(backend, calls)
    run()
    cuda.synchronize()
    samples: list[float] = []
    while len(samples) < effort.samples or time.perf_counter() < end:
        before, after = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
        before.record()
        run()
        after.record()
        after.synchronize()
        samples.append(before.elapsed_time(after) * 1e-3 / count)
    return statistics.median(samples)


def _captured(backend: Backend, calls: Sequence[Call]) -> tuple[int, Call]:
    """How many calls one run makes, and the run: a CUDA graph where that is possible."""
    cuda = backend.torch.cuda
    stream = cuda.Stream()
    stream.wait_stream(cuda.current_stream())
    with cuda.stream(stream):
        for call in calls[:2]:
            call()
    cuda.current_stream().wait_stream(stream)
    cuda.synchronize()
    start = time.perf_counter()
    calls[-1]()
    cuda.synchronize()
    once = max(time.perf_counter() - start, 1e-7)
    count = max(1, min(256, round(SAMPLE / once)), min(len(calls), round(4 * SAMPLE / once)))
    chosen = [calls[i % len(calls)] for i in range(count)]

    def eager() -> None:
        for call in chosen:
            call()

    with suppress(RuntimeError):
        graph = cuda.CUDAGraph()
        with cuda.graph(graph):
            eager()
        return count, graph.replay
    return count, eager
