"""Scaled dot-product attention of one layer over a KV cache: a chunk, decodes, or both."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from servetwin.calibrate.profiler.operations import Bench
from servetwin.calibrate.profiler.timing import Call

__all__ = ["attention_calls", "causal_mask", "chunk_attention", "decode_attention"]

MOST_COPIES = 32


def attention_calls(bench: Bench, sizes: tuple[int, ...]) -> Sequence[Call]:
    """Calls of (chunk, tokens before it, decodes, context of each), some of them 0."""
    chunk, done, decodes, context = sizes
    prefills = _chunks(bench, chunk, done) if chunk else []
    steps = _decodes(bench, decodes, context) if decodes else []
    if not prefills or not steps:
        return prefills or steps

    def both(first: Call, second: Call) -> Call:
        def call() -> None:
            first()
            second()

        return call

    count = max(len(prefills), len(steps))
    return [both(prefills[i % len(prefills)], steps[i % len(steps)]) for i in range(count)]


def decode_attention(functional: Any, q: Any, keys: Any, values: Any) -> Any:
    """One token of each sequence: q (B, heads, D), keys and values (B, context, kv heads, D).

    Query heads that share a KV head go along the query axis, so that it is read once.
    """
    batch, heads, size = q.shape
    shared = keys.shape[2]
    grouped = q.view(batch, shared, heads // shared, size)
    found = functional.scaled_dot_product_attention(
        grouped, keys.transpose(1, 2), values.transpose(1, 2)
    )
    return found.reshape(batch, heads * size)


def chunk_attention(functional: Any, q: Any, keys: Any, values: Any, mask: Any) -> Any:
    """A chunk of one prompt: q (chunk, heads, D), keys and values (all tokens, kv heads, D).

    `mask` None means that the chunk begins the prompt.
    """
    found = functional.scaled_dot_product_attention(
        q.transpose(0, 1).unsqueeze(0),
        keys.transpose(0, 1).unsqueeze(0),
        values.transpose(0, 1).unsqueeze(0),
        attn_mask=mask,
        is_causal=mask is None,
        enable_gqa=q.shape[1] != keys.shape[1],
    )
    return found[0].transpose(0, 1).reshape(q.shape[0], -1)


def causal_mask(torch: Any, chunk: int, done: int, device: str) -> Any:
    """What a chunk behind `done` tokens may see; None where it begins the prompt."""
    if done == 0:
        return None
    if device == "cuda":
        from importlib import import_module

        # Flash attention without a mask in memory.
        return import_module("torch.nn.attention.bias").causal_lower_right(chunk, chunk + done)
    rows = torch.arange(chunk, device=device)[:, None] + done
    return torch.arange(chunk + done, device=device)[None, :] <= rows


def _chunks(bench: Bench, chunk: int, done: int) -> list[Call]:
    backend, shapes = bench.backend, bench.shapes
    functional, size = backend.torch.nn.functional, shapes.model.head_dim
    q = backend.tensor(chunk, shapes.heads, size)
    mask = causal_mask(backend.torch, chunk, done, backend.device)
    return [
        partial(chunk_attention, functional, q, kv[0], kv[1], mask)
        for kv in _caches(bench, 1, chunk + done, squeeze=True)
    ]


def _decodes(bench: Bench, decodes: int, context: int) -> list[Call]:
    backend, shapes = bench.backend, bench.shapes
    functional, size = backend.torch.nn.functional, shapes.model.head_dim
    q = backend.tensor(decodes, shapes.heads, size)
    return [
        partial(decode_attention, functional, q, kv[0], kv[1])
        for kv in _caches(bench, decodes, context)
    ]


def _caches(bench: Bench, sequences: int, tokens: int, squeeze: bool = False) -> list[Any]:
    """Keys and values of as many layers as it takes, shape (2, [sequences,] tokens, heads, D)."""
    shapes = bench.shapes
    count = min(bench.copies(shapes.kv_bytes(sequences * tokens)), shapes.model.layers, MOST_COPIES)
    shape = (tokens, shapes.kv_heads, shapes.model.head_dim)
    batch = () if squeeze else (sequences,)
    return [bench.backend.tensor(2, *batch, *shape) for _ in range(count)]
