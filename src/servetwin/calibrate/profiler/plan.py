"""Which operations of a model are timed, and at which sizes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from servetwin.cost.shapes import Gemm, attention_gemms, head_gemm, local_kv_heads, mlp_gemms
from servetwin.errors import InputError
from servetwin.types import AttentionKind, Model
from servetwin.units import GIB

__all__ = ["Limits", "Plan", "Point", "Shapes", "plan_profile"]

Sizes = tuple[int, ...]

DENSE, SAMPLED, ATTENTION = "dense", "per_sequence", "attention"
"""Tables of a profile, and their files."""

TOKENS = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048)
MORE_TOKENS = (3072, 4096, 6144, 8192)
QUICK_TOKENS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
SEQUENCES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
QUICK_SEQUENCES = (1, 4, 16, 64)


@dataclass(frozen=True)
class Limits:
    """What the device allows."""

    memory: float
    """Bytes that one operation may take, its copies included."""
    large: bool = False
    """Whether batches of thousands of tokens take milliseconds, as on a GPU, not seconds."""
    quick: bool = False
    """Fewer sizes, for a first look."""
    collectives: bool = False
    """Whether the processes of a tensor-parallel group are there."""


@dataclass(frozen=True)
class Point:
    """One timing: `sizes` are the values of the columns that name a row of the table."""

    table: str
    layer: str
    """Name of the operation; "" in the attention table, whose sizes say what ran."""
    sizes: Sizes


@dataclass(frozen=True)
class Shapes:
    """One layer of a model on one device, in elements."""

    model: Model
    tp: int
    element: int
    """Bytes of one weight, and of one activation."""

    @property
    def heads(self) -> int:
        return self.model.heads // self.tp

    @property
    def kv_heads(self) -> int:
        return local_kv_heads(self.model, self.tp)

    @property
    def inner(self) -> int:
        return self.model.intermediate_size // self.tp

    @property
    def gemms(self) -> dict[str, Gemm]:
        """By the name of their rows."""
        names = {"qkv": "qkv_proj", "attention_out": "o_proj"}
        names |= {"mlp_up": "gate_up_proj", "mlp_down": "down_proj"}
        found = attention_gemms(self.model, self.tp) + mlp_gemms(self.model, self.tp)
        return {names[gemm.name]: gemm for gemm in found}

    @property
    def head(self) -> Gemm:
        return head_gemm(self.model, self.tp)

    @property
    def bytes(self) -> float:
        """All weights on this device: what an iteration reads, and so drives out of caches."""
        model = self.model
        layers = sum(gemm.n * gemm.k for gemm in self.gemms.values()) * model.layers
        return float(self.element * (layers + self.head.n * self.head.k))

    def kv_bytes(self, tokens: int) -> float:
        """Keys and values of one layer."""
        return float(2 * tokens * self.kv_heads * self.model.head_dim * self.element)


@dataclass(frozen=True)
class Plan:
    """Every timing of a profile, grouped by operation."""

    shapes: Shapes
    points: tuple[Point, ...]
    left_out: tuple[str, ...]
    """In words: what is not timed, and why."""


def plan_profile(model: Model, tp: int, element: int, limits: Limits) -> Plan:
    """Choose operations and sizes.

    Raises InputError for an architecture that the profiler cannot run, a `tp` that does not
    divide its heads, and a model whose largest matrix does not fit.
    """
    _check(model, tp)
    shapes = Shapes(model, tp, element)
    largest = max([*shapes.gemms.values(), shapes.head], key=lambda gemm: gemm.n * gemm.k)
    # The matrix, a few activations of as many rows as fit, and room for the allocator.
    if (need := 1.5 * element * largest.n * largest.k) > limits.memory:
        raise InputError(
            f"--model {model.name}: its largest matrix needs {need / GIB:.1f} GiB, and "
            f"{limits.memory / GIB:.1f} GiB are free for it: take a smaller model, or more tp"
        )
    left_out: list[str] = []
    points = _dense(shapes, limits, left_out) + _sampled(shapes, limits, left_out)
    points += _attention(shapes, limits, left_out)
    if tp > 1 and not limits.collectives:
        left_out.append(
            f"collectives: {tp} processes are needed, as torchrun --nproc-per-node {tp} starts"
        )
    return Plan(shapes, tuple(points), tuple(left_out))


def _check(model: Model, tp: int) -> None:
    if set(model.attention) != {AttentionKind.FULL} or model.attention_gate:
        raise InputError(
            f"--model {model.name}: only full attention can be profiled yet, and this model has "
            f"{', '.join(sorted(set(model.attention) - {AttentionKind.FULL})) or 'gated'} layers"
        )
    if model.mixture is not None:
        raise InputError(f"--model {model.name}: experts cannot be profiled yet: a dense model")
    if tp < 1 or model.heads % tp or model.intermediate_size % tp or model.vocab_size < tp:
        raise InputError(f"--tp {tp}: must divide the {model.heads} heads of {model.name}")


def _dense(shapes: Shapes, limits: Limits, left_out: list[str]) -> list[Point]:
    model = shapes.model
    sizes: Sizes = QUICK_TOKENS if limits.quick else TOKENS
    if limits.large:
        sizes = (*sizes, *MORE_TOKENS[1::2]) if limits.quick else (*sizes, *MORE_TOKENS)
    widest = 2 * shapes.inner + model.hidden_size
    sizes = _fitting("tokens", sizes, 8.0 * shapes.element * widest, limits, left_out)
    layers = ["embedding", "layernorm", "qkv_proj", "kv_write", "o_proj", "residual_add"]
    layers += ["gate_up_proj", "act_fn", "down_proj", "final_layernorm"]
    if not model.learned_positions:
        layers.insert(3, "rotary_emb")
    if shapes.tp > 1 and limits.collectives:
        # First, since every process of the group has to come.
        layers.insert(0, "all_reduce")
    return [Point(DENSE, layer, (size,)) for layer in layers for size in sizes]


def _sampled(shapes: Shapes, limits: Limits, left_out: list[str]) -> list[Point]:
    sizes: Sizes = QUICK_SEQUENCES if limits.quick else SEQUENCES
    # Logits in fp32, their probabilities, and as many random numbers.
    sizes = _fitting("sequences", sizes, 16.0 * shapes.model.vocab_size, limits, left_out)
    layers = ("lm_head", "sampler", "host")
    return [Point(SAMPLED, layer, (size,)) for layer in layers for size in sizes]


def _fitting(what: str, sizes: Sizes, each: float, limits: Limits, left_out: list[str]) -> Sizes:
    kept = tuple(size for size in sizes if size * each <= limits.memory)
    if len(kept) < 2:
        raise InputError(f"{limits.memory / GIB:.2f} GiB of free memory are too little to profile")
    if len(kept) < len(sizes):
        left_out.append(f"more than {kept[-1]:,} {what}: memory")
    return kept


def _attention(shapes: Shapes, limits: Limits, left_out: list[str]) -> list[Point]:
    """Full grids of powers of two: prompts alone, decodes alone, and both."""
    chunks, done, many, contexts = _axes(limits)
    reach = shapes.model.max_model_len
    chunks, done, contexts = (_up_to(axis, reach) for axis in (chunks, done, contexts))
    wanted = many[-1], contexts[-1]
    while shapes.kv_bytes(many[-1] * contexts[-1]) > limits.memory and len(many) > 2:
        many = many[:-1]
    while shapes.kv_bytes(many[-1] * contexts[-1]) > limits.memory and len(contexts) > 2:
        contexts = contexts[:-1]
    if (many[-1], contexts[-1]) != wanted:
        left_out.append(f"attention of more than {many[-1]} decodes of {contexts[-1]:,}: memory")
    points = [*product(chunks, done, (0,), (0,)), *product((0,), (0,), many, contexts)]
    if limits.quick:
        left_out.append("prefill and decode attention in one iteration: --quick")
    else:
        points += product(chunks, done, many[::4], contexts)
    return [Point(ATTENTION, "", sizes) for sizes in points]


def _axes(limits: Limits) -> tuple[Sizes, Sizes, Sizes, Sizes]:
    """Tokens of a chunk, tokens before it, decodes, and context of each.

    Over the size of a chunk, time turns from linear to quadratic; over the others it is
    nearly affine, which needs fewer sizes.
    """
    if limits.quick:
        return (16, 64, 256, 1024), (0, 256, 1024), (1, 4, 16, 64), (16, 256, 1024)
    if limits.large:
        done = (0, 256, 1024, 4096, 16384)
        return _powers(16, 8192), done, _powers(1, 256), (16, 64, 256, 1024, 4096, 16384)
    return (16, 64, 256, 1024, 2048), (0, 256, 1024, 4096), _powers(1, 256), (16, 256, 1024, 4096)


def _up_to(axis: Sizes, reach: int) -> Sizes:
    """The sizes of a model that reads no more than `reach` tokens, but always two."""
    return tuple(size for place, size in enumerate(axis) if size <= reach or place < 2)


def _powers(low: int, high: int) -> Sizes:
    return tuple(1 << e for e in range(low.bit_length() - 1, high.bit_length()))
