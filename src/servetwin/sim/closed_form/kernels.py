"""Compiled loops. Importing this module imports numba: only functions that need it do."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from servetwin.cache.kernel.compile import cache_folder, entry_of, inlined
from servetwin.types.cost import ATTENTION_FRACTION_BITS

__all__ = [
    "Coefficients",
    "decode_times",
    "fill_cache",
    "fill_fragments",
    "follow_ups",
    "prefill_times",
]

Ints = NDArray[np.int64]
FRACTION = (1 << ATTENTION_FRACTION_BITS) - 1


_entry = entry_of(cache_folder([Path(__file__)]))


class Coefficients(NamedTuple):
    """The scalars of an IterationCost, and the most tokens of a prefill chunk."""

    base: int
    linear_slope: int
    head: int
    decode_seq: int
    decode_ctx: int
    prefill_chunk: int
    prefill_attn: int
    window: int
    decode_window_ctx: int
    prefill_window_attn: int
    chunk: int


@inlined
def _linear(table: Any, slope: int, tokens: int) -> Any:
    last = table.size - 1
    if tokens <= last:
        return table[tokens]
    return table[last] + slope * (tokens - last)


@inlined
def _pairs_within(tokens: int, done: int, window: int) -> int:
    inside = max(0, min(tokens, window - done))
    return inside * (2 * done + inside) + (tokens - inside) * (2 * window - 1)


@inlined
def _chunk_time(cost: Coefficients, table: Ints, tokens: int, done: int) -> Any:
    """One iteration of `tokens` prompt tokens behind `done`, without the head.

    Attention is split into whole units and the rest, whose products alone could pass 64 bits.
    """
    pairs = tokens * (2 * done + tokens)
    rest = cost.prefill_attn * (pairs & FRACTION)
    whole = cost.prefill_attn * (pairs >> ATTENTION_FRACTION_BITS)
    if cost.window > 0:
        near = _pairs_within(tokens, done, cost.window)
        rest += cost.prefill_window_attn * (near & FRACTION)
        whole += cost.prefill_window_attn * (near >> ATTENTION_FRACTION_BITS)
    fixed = cost.base + cost.prefill_chunk + _linear(table, cost.linear_slope, tokens)
    return fixed + whole + (rest >> ATTENTION_FRACTION_BITS)


@_entry
def prefill_times(
    cost: Coefficients, table: Ints, input_tokens: Ints, cached: int, whole: Ints, out: Ints
) -> None:
    """Prefill behind `cached` tokens, or all but one where the input is no longer.

    Whole chunks are the same for all requests: `whole` is filled with their sums, and has
    room for those of the longest input, and 0.
    """
    whole[0] = 0
    for j in range(1, whole.size):
        done = cached + (j - 1) * cost.chunk
        whole[j] = whole[j - 1] + _chunk_time(cost, table, cost.chunk, done)
    for i in range(input_tokens.size):
        tokens = input_tokens[i]
        done = min(cached, tokens - 1)
        chunks = (tokens - done - 1) // cost.chunk
        done += chunks * cost.chunk
        last = _chunk_time(cost, table, tokens - done, done)
        out[i] = cost.head + whole[chunks] + last


@_entry
def decode_times(
    cost: Coefficients, step: int, input_tokens: Ints, output_tokens: Ints, out: Ints
) -> None:
    """Decode steps after the first token, at contexts of one more token each.

    The sum of an affine series, with a corner where the window is full.
    """
    for i in range(input_tokens.size):
        before = input_tokens[i]
        steps = max(output_tokens[i] - 1, 0)
        total = steps * step + cost.decode_ctx * (steps * before + (steps * (steps + 1) >> 1))
        if cost.window > 0:
            inside = max(0, min(steps, cost.window - before))
            seen = inside * before + (inside * (inside + 1) >> 1)
            total += cost.decode_window_ctx * (seen + (steps - inside) * cost.window)
        out[i] = total


@_entry
def fill_fragments(
    start: tuple[int, int, int],
    first_id: int,
    step_ms: int,
    total_ms: Ints,
    counts: Ints,
    bounds: tuple[Ints, Ints],
    levels: tuple[Any, Any, Any, Any],
    out: tuple[Any, Any, Any],
) -> tuple[int, int, int]:
    """Write fragments until `out` is full or the requests are used up.

    `start` and the result are (row of `out`, request, fragment of that request). `bounds`
    are fragment numbers within each request; `levels` are its utilisations per mille.
    """
    row, request, done = start
    begin, end = bounds
    head, first, last, tail = levels
    ids, durations, usage = out
    size = ids.size
    while request < counts.size and row < size:
        count = counts[request]
        stop = min(count, done + size - row)
        shift = row - done
        for j in range(row, shift + stop):
            ids[j] = first_id + request
            durations[j] = step_ms
        if stop == count:
            durations[shift + stop - 1] = total_ms[request] - (count - 1) * step_ms
        low, high = min(begin[request], count), min(end[request], count)
        for j in range(done, min(low, stop)):
            usage[shift + j] = np.uint16(head[request] + 0.5)
        slope = (last[request] - first[request]) / max(1, end[request] - low)
        level = first[request] + 0.5
        for j in range(max(low, done), min(high, stop)):
            usage[shift + j] = np.uint16(level + slope * (j - low))
        for j in range(max(high, done), stop):
            usage[shift + j] = np.uint16(tail[request] + 0.5)
        row = shift + stop
        done = stop
        if done == count:
            request, done = request + 1, 0
    return row, request, done


@_entry
def fill_cache(
    start: tuple[int, int, int],
    rows: int,
    counts: Ints,
    edges: tuple[Any, Any],
    levels: tuple[Any, Any],
    size: tuple[float, float, float, float],
    out: Any,
) -> None:
    """Write the KV cache at each fragment's start, for those `fill_fragments` just wrote.

    Its tokens grow evenly up to `levels[0]` at the end of the prefill, then to `levels[1]` at
    that of the decode; `edges` are these ends in fragments, not rounded. `size` is a CacheSize
    in thousandths of the memory.
    """
    row, request, done = start
    far, near, window, fixed = size
    while row < rows:
        stop = min(counts[request], done + rows - row)
        prefill, whole = edges[0][request], edges[1][request]
        middle, last = levels[0][request], levels[1][request]
        rise = middle / prefill if prefill > 0 else 0.0
        climb = (last - middle) / (whole - prefill) if whole > prefill else 0.0
        for j in range(done, stop):
            tokens = rise * j if j < prefill else middle + climb * (j - prefill)
            level = far * tokens + near * min(tokens, window)
            if tokens > 0:
                level += fixed
            out[row + j - done] = np.uint16(min(level, 65535.0))
        row += stop - done
        request, done = request + 1, 0


@_entry
def follow_ups(parent: Any, think_time: Ints, total: Ints, arrival: Ints) -> None:
    """Fill in the arrivals of turns that wait for their parent, as the simulator does."""
    for i in range(arrival.size):
        if parent[i] >= 0:
            before = parent[i]
            arrival[i] = arrival[before] + total[before] + max(think_time[i], 1)
