"""The duration of one iteration, term by term as `IterationCost` documents it."""

from __future__ import annotations

from servetwin.sim.reference.state import Batch
from servetwin.types import IterationCost
from servetwin.types.cost import ATTENTION_FRACTION_BITS
from servetwin.types.cost import Ints as Table

__all__ = ["duration", "price_of_chunk", "window_pairs"]


def window_pairs(tokens: int, done: int, window: int) -> int:
    """Sum over the chunk's queries at position q of min(2q + 1, 2 * window - 1)."""
    inside = max(0, min(tokens, window - done))
    return inside * (2 * done + inside) + (tokens - inside) * (2 * window - 1)


def duration(cost: IterationCost, batch: Batch) -> int:
    """Picoseconds that `batch` takes; 0 for an empty one."""
    if not batch.work:
        return 0
    decodes = [item for item in batch.work if item.decode]
    chunks = [item for item in batch.work if not item.decode]
    contexts = batch.contexts
    total = cost.base
    total += _look_up(cost.linear, cost.linear_slope, sum(item.tokens for item in batch.work))
    total += _look_up(cost.head, cost.head_slope, sum(item.samples for item in batch.work))
    total += len(decodes) * cost.decode_seq + cost.decode_ctx * contexts
    total += cost.decode_window_ctx * min(contexts, cost.window * len(decodes))
    if cost.speculation is not None:
        total += int(cost.speculation[len(decodes)])
    if batch.adapters:
        total += cost.lora_base + len(batch.adapters) * cost.lora_adapter
        total += batch.adapted * cost.lora_token
    total += len(chunks) * cost.prefill_chunk
    pairs = sum(item.tokens * (2 * item.done + item.tokens) for item in chunks)
    attention = cost.prefill_attn * pairs
    if cost.window:
        windowed = sum(window_pairs(item.tokens, item.done, cost.window) for item in chunks)
        attention += cost.prefill_window_attn * windowed
    total += attention >> ATTENTION_FRACTION_BITS
    if cost.attention is None:
        return total
    if not chunks:
        return total + cost.attention.decode(len(decodes), contexts)
    return total + cost.attention.mixed(batch.prefill_tokens, pairs, len(decodes), contexts)


def price_of_chunk(cost: IterationCost, tokens: int, done: int) -> int:
    """Picoseconds that a chunk of `tokens` behind `done` others adds to an iteration."""
    attention = cost.prefill_attn * tokens * (2 * done + tokens)
    if cost.window:
        attention += cost.prefill_window_attn * window_pairs(tokens, done, cost.window)
    price = _look_up(cost.linear, cost.linear_slope, tokens) + cost.prefill_chunk
    price += attention >> ATTENTION_FRACTION_BITS
    if cost.attention is not None:
        price += cost.attention.mixed(tokens, tokens * (2 * done + tokens), 0, 0)
    return price


def _look_up(table: Table, slope: int, index: int) -> int:
    last = table.size - 1
    if index <= last:
        return int(table[index])
    return int(table[last]) + slope * (index - last)
