"""Sums over the processes of a tensor-parallel group, timed by all of them together."""

from __future__ import annotations

import importlib
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from servetwin.calibrate.profiler.backend import Backend
from servetwin.errors import InputError

__all__ = ["all_reduce_seconds", "group"]

WARM_UP, SAMPLES = 3, 15
"""Fixed, since every process has to make the same calls."""


@contextmanager
def group(backend: Backend, tp: int) -> Iterator[Any]:
    """The group of the processes that torchrun started; None where this is the only one.

    Raises InputError where there are processes, but not `tp`.
    """
    if backend.ranks == 1:
        yield None
        return
    if backend.ranks != tp:
        raise InputError(f"--tp {tp}: {backend.ranks} processes were started; start {tp}")
    distributed = importlib.import_module("torch.distributed")
    distributed.init_process_group("nccl" if backend.is_cuda else "gloo")
    try:
        yield distributed
    finally:
        distributed.destroy_process_group()


def all_reduce_seconds(backend: Backend, distributed: Any, tokens: int, hidden: int) -> float:
    """Seconds of the sum of `tokens` vectors of `hidden` elements over the group."""
    x = backend.tensor(tokens, hidden)
    samples = []
    for _ in range(WARM_UP + SAMPLES):
        distributed.barrier()
        _wait(backend)
        start = time.perf_counter()
        distributed.all_reduce(x)
        _wait(backend)
        samples.append(time.perf_counter() - start)
        x.fill_(0.01)
    return statistics.median(samples[WARM_UP:])


def _wait(backend: Backend) -> None:
    if backend.is_cuda:
        backend.torch.cuda.synchronize()
