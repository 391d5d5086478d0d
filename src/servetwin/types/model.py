"""Model: the architecture of a transformer, as far as serving it costs anything."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["AttentionKind", "LatentAttention", "Mixture", "Model"]


class AttentionKind(StrEnum):
    """What one layer keeps and reads of the past."""

    FULL = "full"
    SLIDING = "sliding"
    LATENT = "latent"
    """Multi-head latent attention (DeepSeek): one compressed vector a token, no heads."""
    SPARSE_LATENT = "sparse_latent"
    """Latent attention that reads only the `sparse_top_k` tokens an indexer picks."""
    LINEAR = "linear"
    """A state of fixed size instead of a cache that grows."""


@dataclass(frozen=True)
class LatentAttention:
    """Shapes of multi-head latent attention; sizes in elements."""

    kv_lora_rank: int
    rope_head_dim: int
    nope_head_dim: int
    value_head_dim: int
    q_lora_rank: int | None = None
    index_heads: int = 0
    index_head_dim: int = 0


@dataclass(frozen=True)
class Mixture:
    """A mixture-of-experts MLP. Sizes are of one expert's inner layer, in elements."""

    experts: int
    experts_per_token: int
    expert_size: int
    shared_size: int = 0
    """Inner size of the shared expert(s) together; 0 where there is none."""
    moe_layers: int = 0
    """How many of the model's layers are mixtures; the others are dense."""


@dataclass(frozen=True)
class Model:
    """An architecture. `attention` names the kind of each layer, in order.

    Raises ValueError where the shapes contradict each other.
    """

    name: str
    layers: int
    hidden_size: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate_size: int
    vocab_size: int
    max_model_len: int
    attention: tuple[AttentionKind, ...]
    gated_mlp: bool = True
    tied_embeddings: bool = False
    attention_bias: bool = False
    """Bias on the query, key and value projections."""
    attention_gate: bool = False
    """Full attention multiplies its output by a gate as wide as the queries (Qwen3-Next)."""
    bias: bool = False
    """Bias on every linear layer and layer norm (GPT-2, OPT, BLOOM)."""
    layer_norms: int = 2
    """Norms over the hidden size in one layer; 1 where attention and MLP run side by side."""
    learned_positions: int = 0
    """Rows of a learned position table; 0 for rotary or ALiBi."""
    sliding_window: int = 0
    sparse_top_k: int = 0
    latent: LatentAttention | None = None
    mixture: Mixture | None = None
    linear_state: int = 0
    """Elements of state that one linear-attention layer keeps for a sequence."""
    linear_parameters: int = 0
    """Parameters of one linear-attention mixer."""
    extra_parameters: int = 0
    """Parameters that the shapes above do not produce (vision towers excluded)."""
    dtype: str = "bf16"
    """Type in which the weights are published."""
    wide_parts: tuple[str, ...] = ()
    """Parts kept in 16 bits beside a narrower `dtype`: attention, dense_mlp, shared_experts.

    Embedding, head, norms and routers always are.
    """
    published_parameters: float = 0.0
    """Parameter count the publisher states, 0 if none; used by tests only."""
    source: str = ""

    def __post_init__(self) -> None:
        for field in ("layers", "hidden_size", "heads", "kv_heads", "head_dim", "vocab_size"):
            if getattr(self, field) < 1:
                raise ValueError(f"{self.name}: {field} must be at least 1")
        if self.max_model_len < 1:
            raise ValueError(f"{self.name}: max_model_len must be at least 1")
        if len(self.attention) != self.layers:
            raise ValueError(f"{self.name}: attention must name each of the {self.layers} layers")
        if self.heads % self.kv_heads:
            raise ValueError(f"{self.name}: kv_heads must divide heads")
        if AttentionKind.SLIDING in self.attention and self.sliding_window < 1:
            raise ValueError(f"{self.name}: sliding layers need sliding_window")
        latent = {AttentionKind.LATENT, AttentionKind.SPARSE_LATENT} & set(self.attention)
        if latent and self.latent is None:
            raise ValueError(f"{self.name}: latent layers need their shapes")
        if self.mixture is not None and not 0 < self.mixture.moe_layers <= self.layers:
            raise ValueError(f"{self.name}: moe_layers must lie between 1 and {self.layers}")

    def layers_of(self, *kinds: AttentionKind) -> int:
        """Count the layers whose attention is one of `kinds`."""
        return sum(kind in kinds for kind in self.attention)
