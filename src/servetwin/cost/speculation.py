"""Speculative decoding and multi-token prediction, by their acceptance length.

An iteration that verifies `k` drafted tokens of each of `B` sequences computes `B (1 + k)`
tokens, reads each context once, and yields `a` tokens for each sequence on average. Simulated
iterations yield one token: they last an `a`-th. So means of TPOT and throughput are those of a
real engine; the tokens of one verification come evenly, where in reality they come together.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from servetwin.types import Deployment, IterationCost
from servetwin.types.attention import AttentionTables

__all__ = ["speculate"]

Floats = NDArray[np.float64]


def speculate(one: IterationCost, deployment: Deployment) -> IterationCost:
    """Cost of iterations that decode as the deployment's settings say; `one` is without drafts.

    Drafting one token takes `draft_share` of the layers (one of all where that is not given,
    as the module of DeepSeek-V3 does), and the head. Returns `one` where nothing is drafted.
    """
    settings = deployment.settings
    drafted, accepted = settings.speculative_tokens, settings.acceptance_length
    if drafted == 0:
        return one
    share = settings.draft_share or 1.0 / deployment.model.layers
    batch = np.arange(settings.max_num_seqs + 1, dtype=np.float64)
    verify = one.base + _of_tokens(one, batch * (1 + drafted))
    draft = share * _entries(one.linear, one.linear_slope, batch)
    draft += _entries(one.head, one.head_slope, batch)
    whole = (verify + drafted * draft) / accepted
    table = np.rint(whole - one.base - _of_tokens(one, batch)).astype(np.int64)
    table[0] = 0
    return replace(
        one,
        decode_seq=round(one.decode_seq / accepted),
        decode_ctx=round(one.decode_ctx / accepted),
        decode_window_ctx=round(one.decode_window_ctx / accepted),
        attention=None if one.attention is None else _attention(one.attention, accepted),
        speculation=table,
    )


def _of_tokens(cost: IterationCost, tokens: Floats) -> Floats:
    sampled = _entries(cost.head, cost.head_slope, tokens)
    return _entries(cost.linear, cost.linear_slope, tokens) + sampled


def _entries(table: NDArray[np.int64], slope: int, index: Floats) -> Floats:
    last = table.size - 1
    inside = table[np.minimum(index, last).astype(np.int64)]
    return np.asarray(inside + slope * np.maximum(0.0, index - last))


def _attention(tables: AttentionTables, accepted: float) -> AttentionTables:
    """Of decodes alone; where prompts are computed beside them, attention stays whole."""

    def less(table: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.rint(table / accepted).astype(np.int64)

    return replace(tables, offset=less(tables.offset), slope=less(tables.slope))
