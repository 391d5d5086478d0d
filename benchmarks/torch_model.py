"""A decoder with random weights, as plain as PyTorch allows: what the profiler is judged by.

It shares no code with the profiler. Every layer has weights and a KV cache of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from servetwin.types import Model

__all__ = ["Decoder", "Step"]


@dataclass(frozen=True)
class Step:
    """One iteration: a chunk of one prompt behind `done` tokens, and decodes of equal context.

    Each context includes the token that is computed.
    """

    chunk: int = 0
    done: int = 0
    decodes: int = 0
    context: int = 0

    @property
    def sampled(self) -> int:
        return self.decodes + bool(self.chunk)


class Decoder:
    """The shapes of a model with full attention and a dense MLP, on one device."""

    def __init__(self, torch: Any, model: Model, dtype: Any, room: Step) -> None:
        """Make weights, and caches for the longest chunk and the most decodes of `room`."""
        self.torch, self.model, self.dtype = torch, model, dtype
        hidden, size = model.hidden_size, model.head_dim
        wide = (2 if model.gated_mlp else 1) * model.intermediate_size
        rows = (model.heads + 2 * model.kv_heads) * size
        self.words = self.random(model.vocab_size, hidden)
        self.places = self.random(model.learned_positions or model.max_model_len, hidden)
        self.angles = [self.random(model.max_model_len, size) for _ in range(2)]
        self.layers = [
            {
                "qkv": (self.random(rows, hidden), self.bias(rows)),
                "out": (self.random(hidden, model.heads * size), self.bias(hidden)),
                "up": (self.random(wide, hidden), self.bias(wide)),
                "down": (self.random(hidden, model.intermediate_size), self.bias(hidden)),
            }
            for _ in range(model.layers)
        ]
        self.scale, self.shift = self.random(hidden), self.random(hidden)
        longest = room.chunk + room.done
        self.prompt = [
            self.random(2, max(1, longest), model.kv_heads, size) for _ in range(model.layers)
        ]
        self.decoding = [
            self.random(2, max(1, room.decodes), max(1, room.context), model.kv_heads, size)
            for _ in range(model.layers)
        ]

    def random(self, *shape: int) -> Any:
        return self.torch.empty(shape, dtype=self.dtype).uniform_(-0.05, 0.05)

    def bias(self, size: int) -> Any:
        return self.random(size) if self.model.bias else None

    def norm(self, x: Any) -> Any:
        functional, shape = self.torch.nn.functional, (self.model.hidden_size,)
        if self.model.bias:
            return functional.layer_norm(x, shape, self.scale, self.shift)
        return functional.rms_norm(x, shape, self.scale, 1e-5)

    def run(self, step: Step, tokens: list[int]) -> list[int]:
        """One iteration over `tokens`; those drawn for the next one."""
        torch, functional = self.torch, self.torch.nn.functional
        ids = torch.tensor(tokens)
        chunk = list(range(step.done, step.done + step.chunk))
        positions = torch.tensor(chunk + [step.context - 1] * step.decodes)
        x = functional.embedding(ids, self.words)
        if self.model.learned_positions:
            x = x + functional.embedding(positions, self.places)
        mask = self.mask(step)
        for index, layer in enumerate(self.layers):
            x = x + self.attend(index, self.norm(x), positions, step, mask)
            hidden = functional.linear(self.norm(x), *layer["up"])
            if self.model.gated_mlp:
                gate, hidden = hidden.chunk(2, dim=-1)
                hidden = functional.silu(gate) * hidden
            else:
                hidden = functional.gelu(hidden, approximate="tanh")
            x = x + functional.linear(hidden, *layer["down"])
        last = x[-step.sampled :] if step.chunk == 0 else x[step.chunk - 1 :]
        shares = functional.linear(self.norm(last), self.words).float().softmax(dim=-1)
        drawn: list[int] = (shares / torch.empty_like(shares).exponential_()).argmax(-1).tolist()
        return drawn

    def mask(self, step: Step) -> Any:
        if not step.chunk or not step.done:
            return None
        rows = self.torch.arange(step.chunk)[:, None] + step.done
        return self.torch.arange(step.chunk + step.done)[None, :] <= rows

    def attend(self, index: int, x: Any, positions: Any, step: Step, mask: Any) -> Any:
        model, torch = self.model, self.torch
        functional, layer = torch.nn.functional, self.layers[index]
        size, heads, shared = model.head_dim, model.heads, model.kv_heads
        qkv = functional.linear(x, *layer["qkv"]).view(-1, heads + 2 * shared, size)
        both, values = qkv[:, : heads + shared], qkv[:, heads + shared :]
        if not model.learned_positions:
            both = self.rotate(both, positions)
        queries, keys = both[:, :heads], both[:, heads:]
        parts = []
        if step.chunk:
            cache, end = self.prompt[index], step.done + step.chunk
            cache[0, step.done : end] = keys[: step.chunk]
            cache[1, step.done : end] = values[: step.chunk]
            found = functional.scaled_dot_product_attention(
                queries[: step.chunk].transpose(0, 1)[None],
                cache[0, :end].transpose(0, 1)[None],
                cache[1, :end].transpose(0, 1)[None],
                attn_mask=mask,
                is_causal=mask is None,
                enable_gqa=heads != shared,
            )
            parts.append(found[0].transpose(0, 1).reshape(step.chunk, heads * size))
        if step.decodes:
            cache, many, end = self.decoding[index], step.decodes, step.context
            cache[0, :many, end - 1] = keys[step.chunk :]
            cache[1, :many, end - 1] = values[step.chunk :]
            found = functional.scaled_dot_product_attention(
                queries[step.chunk :].reshape(many, shared, heads // shared, size),
                cache[0, :many, :end].transpose(1, 2),
                cache[1, :many, :end].transpose(1, 2),
            )
            parts.append(found.reshape(many, heads * size))
        return functional.linear(parts[0] if len(parts) == 1 else torch.cat(parts), *layer["out"])

    def rotate(self, x: Any, positions: Any) -> Any:
        cos, sin = (table[positions][:, None] for table in self.angles)
        left, right = x.chunk(2, dim=-1)
        return x * cos + self.torch.cat((-right, left), dim=-1) * sin
