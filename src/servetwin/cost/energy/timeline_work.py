"""What an engine did in each interval, from the rows of a Timeline.

A simulated Timeline counts iterations and the contexts they read. A measured one does not,
and they are estimated:

- A running sequence holds the KV blocks in use divided by the sequences running; what is read
  for a decoded token is that, less half a block that is not full.
- Iterations: an engine with running requests at both ends of an interval worked through it, so
  it did as many iterations as fill the interval, each with an even share of the tokens. At
  the edges of work, it decoded the mean of the two batches, for no longer than the interval.
- A prompt token attends to half of the prompts' mean length, weighted by tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from servetwin.cost.energy.utilization import Work, iteration_seconds
from servetwin.types import CostModel, Deployment, RequestTable, Timeline
from servetwin.units import PS_PER_S

__all__ = ["Lengths", "mean_lengths", "replica_work", "spread"]

Floats = NDArray[np.float64]
HALVINGS = 50


@dataclass(frozen=True)
class Lengths:
    """Means over the requests of a run, tokens."""

    prompt: float
    keys: float
    """Keys that a prompt token attends to: E[n (n + 1)] / 2 E[n]."""
    context: float
    """Of a decoded token, where the timeline does not tell: prompt and half the output."""


def mean_lengths(requests: RequestTable) -> Lengths:
    """Mean lengths; 1 everywhere for a run without requests."""
    if len(requests) == 0:
        return Lengths(1.0, 1.0, 1.0)
    prompt = requests.input_tokens.astype(np.float64)
    total = max(1.0, float(prompt.sum()))
    keys = float((prompt * (prompt + 1)).sum()) / (2 * total)
    output = float(requests.output_tokens.mean(dtype=np.float64))
    return Lengths(max(1.0, total / prompt.size), max(1.0, keys), total / prompt.size + output / 2)


def replica_work(
    timeline: Timeline,
    rows: slice,
    deployment: Deployment,
    cost: CostModel,
    lengths: Lengths,
) -> Work:
    """Work of one replica, whose rows of the timeline are `rows`; shape (intervals,).

    `seconds` is the time that the work takes, which may exceed its interval (see `spread`).
    """
    interval = timeline.interval / PS_PER_S
    decode = timeline.decode_tokens[rows].astype(np.float64)
    prefill = timeline.prefill_tokens[rows].astype(np.float64)
    context = _context(timeline, rows, deployment, lengths)
    work = Work(
        seconds=np.full(decode.size, interval),
        iterations=decode + prefill,
        decode_tokens=decode,
        prefill_tokens=prefill,
        decode_context=decode * context,
        prefill_context=prefill * lengths.keys,
        prompts=prefill / lengths.prompt,
    )
    if timeline.iterations is None:
        iterations = _iterations(work, timeline.running[rows], deployment, cost)
    else:
        iterations = timeline.iterations[rows].astype(np.float64)
    work = replace(work, iterations=iterations)
    # Stages work on several iterations at a time: each is busy for its share of them.
    layout = deployment.parallelism
    shared = 1 if layout.pipeline is None else layout.pp
    return replace(work, seconds=iteration_seconds(cost.iteration, work) / shared)


def spread(work: Work, lengths: Floats) -> Work:
    """Move work that fills more than its interval into those before, where it began.

    An iteration is counted where it ends. With `lengths` the seconds of each interval, this is,
    seen backwards in time, a queue served at rate one: up to its `j`-th
    interval, `min over i <= j of need[:i] + time between i and j` seconds have been worked.
    """
    if np.all(work.seconds <= lengths):
        return work
    need = np.concatenate(([0.0], np.cumsum(work.seconds[::-1])))
    time = np.concatenate(([0.0], np.cumsum(lengths[::-1])))
    done = np.minimum.accumulate(need - time) + time
    done[-1] = need[-1]

    def moved(column: Floats) -> Floats:
        total = np.concatenate(([0.0], np.cumsum(column[::-1])))
        return np.asarray(np.diff(np.interp(done, need, total))[::-1])

    seconds = np.minimum(moved(work.seconds), lengths)
    real = (seconds > 1e-9 * lengths).astype(np.float64)  # and not what rounding has left
    parts = {field.name: real * moved(getattr(work, field.name)) for field in fields(work)}
    return Work(**parts | {"seconds": real * seconds})


def _context(timeline: Timeline, rows: slice, deployment: Deployment, lengths: Lengths) -> Floats:
    """Cached tokens that one decoded token reads, in each interval."""
    decode = timeline.decode_tokens[rows].astype(np.float64)
    if timeline.context_tokens is not None:
        return np.asarray(timeline.context_tokens[rows] / np.maximum(1.0, decode))
    block = deployment.settings.block_size
    blocks = timeline.kv_blocks[rows].astype(np.float64)
    running = timeline.running[rows].astype(np.float64)
    blocks = blocks + np.concatenate(([0.0], blocks[:-1]))
    sequences = running + np.concatenate(([0.0], running[:-1]))
    held = block * blocks / np.maximum(1.0, sequences) - (block - 1) / 2
    longest = float(deployment.settings.max_model_len)
    return np.where(sequences > 0, np.clip(held, 1.0, longest), lengths.context)


def _iterations(
    work: Work, running: NDArray[np.int32], deployment: Deployment, cost: CostModel
) -> Floats:
    """Estimate the iterations of each interval from the sequences running at both its ends."""
    after = running.astype(np.float64)
    before = np.concatenate(([0.0], after[:-1]))
    batch = np.maximum(1.0, (after + before) / 2)
    settings = deployment.settings
    least = np.maximum(
        work.decode_tokens / settings.max_num_seqs,
        work.prefill_tokens / settings.max_num_batched_tokens,
    )
    filling = _filling(work, cost, least)
    edge = np.minimum(filling, np.maximum(work.decode_tokens / batch, least))
    return np.where((after > 0) & (before > 0), filling, edge)


def _filling(work: Work, cost: CostModel, least: Floats) -> Floats:
    """Iterations that fill each interval, by bisection: more of them take longer.

    Between `least` (limits of the batch) and one for each token.
    """
    low, high = least.copy(), work.iterations.copy()
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        fits = iteration_seconds(cost.iteration, replace(work, iterations=middle)) <= work.seconds
        low, high = np.where(fits, middle, low), np.where(fits, high, middle)
    return low
