"""How long a sequence the KV cache holds, and at which context its blocks are counted.

Where layers keep a window or a state, a token takes the fewer bytes the longer its sequence,
so the number of blocks depends on the context at which they are counted.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from servetwin.cost.memory import plan_memory
from servetwin.cost.stages import lane_blocks
from servetwin.types import AttentionKind, Deployment
from servetwin.units import ceil_div

__all__ = ["budget", "capacity_context", "fitting_length", "is_uneven"]


def budget(deployment: Deployment) -> float:
    """Bytes of one device that the engine may take."""
    return deployment.accelerator.memory * deployment.settings.gpu_memory_utilization


def is_uneven(deployment: Deployment) -> bool:
    """Whether the bytes of a cached token depend on the length of its sequence."""
    return bool(deployment.model.layers_of(AttentionKind.SLIDING, AttentionKind.LINEAR))


def fitting_length(deployment: Deployment) -> int:
    """Longest sequence, up to max_model_len, that one rank's KV cache can hold.

    0 where the weights leave no room, also for blocks that were ordered.
    """
    settings, ranks = deployment.settings, deployment.parallelism.dp
    plan = plan_memory(deployment, settings.max_model_len)
    if plan.weights + plan.runtime >= budget(deployment):
        return 0

    def holds(length: int) -> bool:
        blocks = plan_memory(deployment, length).capacity_blocks // ranks
        return lane_blocks(deployment, blocks) * settings.block_size >= length

    return _largest(holds, 0, settings.max_model_len)


def capacity_context(
    deployment: Deployment, typical_context: int, lengths: NDArray[np.integer]
) -> int:
    """Context at which to count blocks, so that no request is rejected for the count alone.

    `lengths` are the tokens of each request, input and output. Returns `typical_context`
    where the blocks counted there hold the longest of those that can run at all, otherwise
    the shortest context at which they do.
    """
    if not is_uneven(deployment):
        return typical_context
    limit = _longest_request(deployment)
    possible = lengths[lengths <= limit]
    longest = int(possible.max()) if possible.size else 0

    def too_few(context: int) -> bool:
        return not _admits(deployment, context, longest)

    if not too_few(typical_context):
        return typical_context
    return 1 + _largest(too_few, typical_context, limit)


def _longest_request(deployment: Deployment) -> int:
    """Longest request that an engine whose blocks are counted at that length accepts."""
    if deployment.settings.scheduler != "slots":
        return fitting_length(deployment)
    most = deployment.settings.max_model_len
    return _largest(lambda length: _admits(deployment, length, length), 0, most)


def _admits(deployment: Deployment, context: int, length: int) -> bool:
    """Whether a request of `length` tokens is accepted with the blocks counted at `context`.

    The last token is never stored. llama.cpp divides its blocks among the slots beforehand.
    """
    settings = deployment.settings
    blocks = lane_blocks(deployment, plan_memory(deployment, context).capacity_blocks)
    if settings.scheduler == "slots":
        return blocks // settings.max_num_seqs * settings.block_size >= length
    return blocks >= ceil_div(length - 1, settings.block_size)


def _largest(holds: Callable[[int], bool], low: int, high: int) -> int:
    """Largest number from `low`, which is taken to hold, to `high` up to which `holds`."""
    while low < high:
        middle = (low + high + 1) // 2
        if holds(middle):
            low = middle
        else:
            high = middle - 1
    return low
