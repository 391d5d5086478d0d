"""The duration of a plan: `IterationCost`, term by term."""

import numpy as np

from servetwin.sim.kernel import adapters, attention
from servetwin.sim.kernel.compile import inlined
from servetwin.sim.kernel.state import Int, Ints, Record, State
from servetwin.types.cost import ATTENTION_FRACTION_BITS

__all__ = ["duration", "price_of_chunk", "window_pairs", "without_prompts"]


@inlined
def window_pairs(tokens: Int, done: Int, window: Int) -> Int:
    """Sum over the chunk's queries at position q of min(2q + 1, 2 * window - 1)."""
    inside = max(0, min(tokens, window - done))
    return inside * (2 * done + inside) + (tokens - inside) * (2 * window - 1)


@inlined
def _look_up(table: Ints, kind: Int, slope: Int, index: Int) -> Int:
    last = table.shape[1] - 1
    if index <= last:
        return table[kind, index]
    return table[kind, last] + slope * (index - last)


@inlined
def _attention(settings: Record, pairs: Int, in_windows: Int) -> Int:
    """Prefill attention, floor((a * pairs + w * window pairs) / 2**bits).

    Split into whole units and the rest, since the products alone could pass 64 bits.
    """
    fraction = (1 << ATTENTION_FRACTION_BITS) - 1
    rest = settings.prefill_attn * (pairs & fraction)
    rest += settings.prefill_window_attn * (in_windows & fraction)
    whole = settings.prefill_attn * (pairs >> ATTENTION_FRACTION_BITS)
    whole += settings.prefill_window_attn * (in_windows >> ATTENTION_FRACTION_BITS)
    return whole + (rest >> ATTENTION_FRACTION_BITS)


@inlined
def price_of_chunk(state: State, settings: Record, tokens: Int, done: Int) -> Int:
    """Picoseconds that a chunk of `tokens` behind `done` others adds to an iteration."""
    in_windows = np.int64(0)
    if settings.window > 0:
        in_windows = window_pairs(tokens, done, settings.window)
    linear = _look_up(state.linear, settings.kind, settings.linear_slope, tokens)
    pairs = tokens * (2 * done + tokens)
    price = linear + settings.prefill_chunk + _attention(settings, pairs, in_windows)
    if settings.tabled:
        none, tables = np.int64(0), state.attention
        price += attention.mixed(tables, settings.kind, tokens, pairs, none, none)
    return price


@inlined
def duration(state: State, settings: Record, replica: Record) -> Int:
    """Picoseconds of the plan in `replica`; 0 if it is empty."""
    if replica.prefill_tokens > 0:
        return _with_prompts(state, settings, replica)
    return without_prompts(state, settings, replica)


@inlined
def without_prompts(state: State, settings: Record, replica: Record) -> Int:
    """Picoseconds that the decodes of the plan take alone; 0 where there are none."""
    batch = replica.batch
    if batch == 0:
        return np.int64(0)
    total = _of_tokens(state, settings, replica, batch, batch)
    total += adapters.price(settings, replica.adapters, replica.adapted)
    if settings.tabled:
        total += attention.decode(state.attention, settings.kind, batch, replica.contexts)
    return total


@inlined
def _with_prompts(state: State, settings: Record, replica: Record) -> Int:
    batch, tokens = replica.batch, replica.prefill_tokens
    total = _of_tokens(state, settings, replica, batch + tokens, replica.samples)
    total += replica.chunks * settings.prefill_chunk
    different = replica.adapters + replica.prompt_adapters
    total += adapters.price(settings, different, replica.adapted + replica.prompt_adapted)
    total += _attention(settings, replica.pairs, replica.window_pairs)
    if settings.tabled:
        tables, contexts = state.attention, replica.contexts
        total += attention.mixed(tables, settings.kind, tokens, replica.pairs, batch, contexts)
    return total


@inlined
def _of_tokens(state: State, settings: Record, replica: Record, tokens: Int, samples: Int) -> Int:
    """Everything but the attention of prompts and of tables."""
    total = settings.base + _look_up(state.linear, settings.kind, settings.linear_slope, tokens)
    total += _look_up(state.head, settings.kind, settings.head_slope, samples)
    total += replica.batch * settings.decode_seq + settings.decode_ctx * replica.contexts
    if settings.window > 0:
        seen = min(replica.contexts, settings.window * replica.batch)
        total += settings.decode_window_ctx * seen
    if settings.speculating:
        total += state.speculation[settings.kind, replica.batch]
    return total
