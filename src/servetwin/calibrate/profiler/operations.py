"""The operations of one layer whose time depends on the tokens or sequences of a batch.

Each builder makes the data of one operation once (weights as often as `copies` says), and
returns a function from a size to the calls to be timed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from servetwin.calibrate.profiler.backend import Backend
from servetwin.calibrate.profiler.plan import Shapes
from servetwin.calibrate.profiler.timing import Call
from servetwin.cost.shapes import Gemm
from servetwin.units import GIB

__all__ = ["BUILDERS", "Bench", "Builder"]

COLD = GIB / 2
"""Caches of devices are smaller, or hold a model that is smaller."""
MOST_COPIES = 256

Builder = Callable[["Bench"], Callable[[int], Sequence[Call]]]


@dataclass(frozen=True)
class Bench:
    """What operations are built from."""

    backend: Backend
    shapes: Shapes
    memory: float
    """Bytes that one operation may take."""

    def copies(self, size: float) -> int:
        """Copies of `size` bytes until the first has left the caches, as in a whole model.

        A model that is smaller than the caches stays in them, and so do these copies.
        """
        around = min(self.shapes.bytes, COLD)
        return int(max(1, min(around // size + 1, self.memory // (2 * size), MOST_COPIES)))


def gemm(name: str) -> Builder:
    """A linear layer, with its bias where the model has one."""

    def build(bench: Bench) -> Callable[[int], Sequence[Call]]:
        model = bench.shapes.model
        biased = model.bias or (model.attention_bias and name == "qkv_proj")
        return _linear(bench, bench.shapes.gemms[name], biased)

    return build


def head(bench: Bench) -> Callable[[int], Sequence[Call]]:
    """Logits of the last token of each sequence."""
    return _linear(bench, bench.shapes.head, biased=False)


def _linear(bench: Bench, gemm: Gemm, biased: bool) -> Callable[[int], Sequence[Call]]:
    backend, n, k = bench.backend, int(gemm.n), int(gemm.k)
    linear = backend.torch.nn.functional.linear
    count = bench.copies(n * k * backend.element)
    weights = [backend.tensor(n, k) for _ in range(count)]
    bias = backend.tensor(n) if biased else None

    def calls(rows: int) -> Sequence[Call]:
        x = backend.tensor(rows, k)
        return [partial(linear, x, weight, bias) for weight in weights]

    return calls


def norm(bench: Bench) -> Callable[[int], Sequence[Call]]:
    """LayerNorm where the model has biases, else RMSNorm."""
    backend, shape = bench.backend, (bench.shapes.model.hidden_size,)
    functional = backend.torch.nn.functional
    weight, bias = backend.tensor(*shape), backend.tensor(*shape)

    def calls(tokens: int) -> Sequence[Call]:
        x = backend.tensor(tokens, *shape)
        if bench.shapes.model.bias:
            return [lambda: functional.layer_norm(x, shape, weight, bias)]
        return [lambda: functional.rms_norm(x, shape, weight, 1e-5)]

    return calls


def residual(bench: Bench) -> Callable[[int], Sequence[Call]]:
    """The two sums with the residual stream of one layer (one where it has one norm)."""
    backend, hidden = bench.backend, bench.shapes.model.hidden_size
    sums = bench.shapes.model.layer_norms

    def calls(tokens: int) -> Sequence[Call]:
        x, y = backend.tensor(tokens, hidden), backend.tensor(tokens, hidden)

        def add() -> None:
            for _ in range(sums):
                x + y

        return [add]

    return calls


def activation(bench: Bench) -> Callable[[int], Sequence[Call]]:
    """SiLU times the other half of a gated MLP, else GELU."""
    backend, shapes = bench.backend, bench.shapes
    functional = backend.torch.nn.functional
    gated = shapes.model.gated_mlp

    def calls(tokens: int) -> Sequence[Call]:
        x = backend.tensor(tokens, (2 if gated else 1) * shapes.inner)

        def gate() -> Any:
            left, right = x.chunk(2, dim=-1)
            return functional.silu(left) * right

        return [gate if gated else lambda: functional.gelu(x, approximate="tanh")]

    return calls


def rotary(bench: Bench) -> Callable[[int], Sequence[Call]]:
    """Rotary embedding of queries and keys, halves rotated against each other."""
    backend, shapes = bench.backend, bench.shapes
    torch, size = backend.torch, shapes.model.head_dim
    heads = shapes.heads + shapes.kv_heads
    table = backend.tensor(shapes.model.max_model_len, 2 * size)

    def calls(tokens: int) -> Sequence[Call]:
        x = backend.tensor(tokens, heads, size)
        positions = backend.indices(table.shape[0], tokens)

        def rotate() -> Any:
            cos, sin = table[positions].unsqueeze(1).chunk(2, dim=-1)
            left, right = x.chunk(2, dim=-1)
            return x * cos + torch.cat((-right, left), dim=-1) * sin

        return [rotate]

    return calls


def kv_write(bench: Bench) -> Callable[[int], Sequence[Call]]:
    """Queries, keys and values apart, and the latter two into their places of the cache."""
    backend, shapes = bench.backend, bench.shapes
    size = shapes.model.head_dim
    widths = [heads * size for heads in (shapes.heads, shapes.kv_heads, shapes.kv_heads)]

    def calls(tokens: int) -> Sequence[Call]:
        qkv = backend.tensor(tokens, sum(widths))
        cache = backend.tensor(2, 2 * tokens, shapes.kv_heads, size)
        places = backend.torch.randperm(2 * tokens, device=backend.device)[:tokens]

        def write() -> None:
            _, keys, values = qkv.split(widths, dim=-1)
            cache[0, places] = keys.view(tokens, shapes.kv_heads, size)
            cache[1, places] = values.view(tokens, shapes.kv_heads, size)

        return [write]

    return calls


def embedding(bench: Bench) -> Callable[[int], Sequence[Call]]:
    """Rows of the vocabulary table, and of the position table where there is one."""
    backend, model = bench.backend, bench.shapes.model
    look_up = backend.torch.nn.functional.embedding
    words = backend.tensor(model.vocab_size, model.hidden_size)
    places = backend.tensor(max(1, model.learned_positions), model.hidden_size)

    def calls(tokens: int) -> Sequence[Call]:
        ids = [backend.indices(model.vocab_size, tokens) for _ in range(8)]
        positions = backend.indices(places.shape[0], tokens)
        if model.learned_positions:
            return [partial(_placed, look_up, (i, words), (positions, places)) for i in ids]
        return [partial(look_up, i, words) for i in ids]

    return calls


def _placed(look_up: Any, word: tuple[Any, Any], place: tuple[Any, Any]) -> Any:
    return look_up(*word) + look_up(*place)


def sampler(bench: Bench) -> Callable[[int], Sequence[Call]]:
    """One token a sequence, drawn from all logits (the exponential trick that engines use)."""
    backend, vocabulary = bench.backend, bench.shapes.model.vocab_size

    def calls(sequences: int) -> Sequence[Call]:
        logits = backend.tensor(sequences, vocabulary)

        def draw() -> Any:
            shares = logits.float().softmax(dim=-1)
            return (shares / backend.torch.empty_like(shares).exponential_()).argmax(dim=-1)

        return [draw]

    return calls


def host(bench: Bench) -> Callable[[int], Sequence[Call]]:
    """What the host does once an iteration: inputs to the device, and drawn tokens back."""
    backend = bench.backend
    torch, device = backend.torch, backend.device

    def calls(sequences: int) -> Sequence[Call]:
        drawn = backend.indices(1000, sequences)
        state = {"tokens": [1] * sequences, "positions": list(range(sequences))}

        def step() -> None:
            for column in state.values():
                torch.tensor(column, device=device)
            state["tokens"] = drawn.tolist()
            state["positions"] = [place + 1 for place in state["positions"]]

        return [step]

    return calls


BUILDERS: dict[str, Builder] = {
    "embedding": embedding,
    "layernorm": norm,
    "final_layernorm": norm,
    "qkv_proj": gemm("qkv_proj"),
    "o_proj": gemm("o_proj"),
    "gate_up_proj": gemm("gate_up_proj"),
    "down_proj": gemm("down_proj"),
    "rotary_emb": rotary,
    "kv_write": kv_write,
    "residual_add": residual,
    "act_fn": activation,
    "lm_head": head,
    "sampler": sampler,
    "host": host,
}
"""By the name of the rows; `host` alone is timed by the clock of the host."""
