"""The duration of a plan: `IterationCost`, term by term."""

from servetwin.sim.kernel.compile import inlined
from servetwin.sim.kernel.state import Int, Ints, Record, State
from servetwin.types.cost import ATTENTION_FRACTION_BITS

__all__ = ["duration", "window_pairs"]


@inlined
def window_pairs(tokens: Int, done: Int, window: Int) -> Int:
    """Sum over the chunk's queries at position q of min(2q + 1, 2 * window - 1)."""
    inside = max(0, min(tokens, window - done))
    return inside * (2 * done + inside) + (tokens - inside) * (2 * window - 1)


@inlined
def _look_up(table: Ints, slope: Int, index: Int) -> Int:
    last = table.size - 1
    if index <= last:
        return table[index]
    return table[last] + slope * (index - last)


@inlined
def duration(state: State, settings: Record, replica: Record) -> Int:
    """Picoseconds of the plan in `replica`; 0 if it is empty."""
    batch = replica.batch
    tokens = batch + replica.prefill_tokens
    if tokens == 0:
        return 0
    total = settings.base + _look_up(state.linear, settings.linear_slope, tokens)
    total += _look_up(state.head, settings.head_slope, replica.samples)
    total += batch * settings.decode_seq + settings.decode_ctx * replica.contexts
    if settings.window > 0:
        seen = min(replica.contexts, settings.window * batch)
        total += settings.decode_window_ctx * seen
    if replica.prefill_tokens > 0:
        attention = settings.prefill_attn * replica.pairs
        attention += settings.prefill_window_attn * replica.window_pairs
        total += replica.chunks * settings.prefill_chunk
        total += attention >> ATTENTION_FRACTION_BITS
    return total
