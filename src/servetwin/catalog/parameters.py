"""Counting parameters from shapes, part by part and layer by layer.

Every function counts elements, not bytes. The functions that take only a model count one
layer (or one expert); `count_parameters` adds them up.
"""

from __future__ import annotations

from dataclasses import dataclass

from servetwin.types import AttentionKind, LatentAttention, Model

__all__ = [
    "ParameterCount",
    "attention_parameters",
    "count_parameters",
    "expert_parameters",
    "indexer_parameters",
    "mlp_parameters",
    "norm_parameters",
    "router_parameters",
    "shared_expert_parameters",
]


@dataclass(frozen=True)
class ParameterCount:
    """Parameters of a whole model by part."""

    embedding: int
    """Token table and learned positions; serves as the head too where `head` is 0."""
    attention: int
    dense_mlp: int
    experts: int
    """All routed experts of all layers."""
    shared_experts: int
    router: int
    norms: int
    head: int
    """Output projection; 0 where it is tied to the embedding."""
    other: int
    idle_experts: int
    """The part of `experts` that one token does not pass through."""

    @property
    def total(self) -> int:
        """Parameters that are stored."""
        return (
            self.embedding
            + self.attention
            + self.dense_mlp
            + self.experts
            + self.shared_experts
            + self.router
            + self.norms
            + self.head
            + self.other
        )

    @property
    def active(self) -> int:
        """Parameters in use for one token: all but the experts it is not routed to.

        Both vocabulary tables count, as in most published figures.
        """
        return self.total - self.idle_experts


def count_parameters(model: Model) -> ParameterCount:
    """Count the parameters of a model, vision towers and multi-token prediction excluded."""
    mixture = model.mixture
    moe_layers = mixture.moe_layers if mixture else 0
    idle = mixture.experts - mixture.experts_per_token if mixture else 0
    experts = mixture.experts if mixture else 0
    vocabulary = model.vocab_size * model.hidden_size
    return ParameterCount(
        embedding=vocabulary + model.learned_positions * model.hidden_size,
        attention=sum(attention_parameters(model, kind) for kind in model.attention),
        dense_mlp=(model.layers - moe_layers) * mlp_parameters(model),
        experts=moe_layers * experts * expert_parameters(model),
        shared_experts=moe_layers * shared_expert_parameters(model),
        router=moe_layers * router_parameters(model),
        norms=model.layers * norm_parameters(model) + _norm_width(model),
        head=0 if model.tied_embeddings else vocabulary,
        other=model.extra_parameters,
        idle_experts=moe_layers * idle * expert_parameters(model),
    )


def attention_parameters(model: Model, kind: AttentionKind) -> int:
    """Count the attention of one layer of a kind, output projection included."""
    if kind is AttentionKind.LINEAR:
        return model.linear_parameters
    if kind in (AttentionKind.LATENT, AttentionKind.SPARSE_LATENT):
        if model.latent is None:
            raise ValueError(f"{model.name} has no latent attention")
        count = _latent_parameters(model, model.latent)
        return count + (indexer_parameters(model) if kind is AttentionKind.SPARSE_LATENT else 0)
    queries = model.heads * model.head_dim
    keys_and_values = 2 * model.kv_heads * model.head_dim
    inputs = queries * (2 if model.attention_gate else 1) + keys_and_values
    count = model.hidden_size * (inputs + queries)
    if model.attention_bias or model.bias:
        count += queries + keys_and_values
    if model.bias:
        count += model.hidden_size
    return count


def _latent_parameters(model: Model, latent: LatentAttention) -> int:
    hidden, heads = model.hidden_size, model.heads
    queries = heads * (latent.nope_head_dim + latent.rope_head_dim)
    if latent.q_lora_rank is None:
        count = hidden * queries
    else:
        count = latent.q_lora_rank * (hidden + 1 + queries)
    count += hidden * (latent.kv_lora_rank + latent.rope_head_dim) + latent.kv_lora_rank
    count += latent.kv_lora_rank * heads * (latent.nope_head_dim + latent.value_head_dim)
    return count + heads * latent.value_head_dim * hidden


def indexer_parameters(model: Model) -> int:
    """Count the indexer that picks the tokens of sparse latent attention, for one layer.

    Its queries come from the compressed query, its one key head and the weights of its
    heads from the hidden state; the key passes a layer norm with bias.
    """
    latent = model.latent
    if latent is None or latent.index_heads == 0:
        return 0
    query_source = latent.q_lora_rank or model.hidden_size
    queries = query_source * latent.index_heads * latent.index_head_dim
    key = (model.hidden_size + 2) * latent.index_head_dim
    return queries + key + model.hidden_size * latent.index_heads


def mlp_parameters(model: Model) -> int:
    """Count one dense MLP: up, down, and gate where there is one."""
    matrices = 3 if model.gated_mlp else 2
    count = matrices * model.hidden_size * model.intermediate_size
    if model.bias:
        count += (matrices - 1) * model.intermediate_size + model.hidden_size
    return count


def expert_parameters(model: Model) -> int:
    """Count one routed expert; 0 without a mixture."""
    return 3 * model.hidden_size * model.mixture.expert_size if model.mixture else 0


def shared_expert_parameters(model: Model) -> int:
    """Count the shared experts of one layer together; 0 where there are none."""
    return 3 * model.hidden_size * model.mixture.shared_size if model.mixture else 0


def router_parameters(model: Model) -> int:
    """Count the router of one layer; 0 without a mixture."""
    return model.hidden_size * model.mixture.experts if model.mixture else 0


def norm_parameters(model: Model) -> int:
    """Count the norms over the hidden size in one layer."""
    return model.layer_norms * _norm_width(model)


def _norm_width(model: Model) -> int:
    return model.hidden_size * (2 if model.bias else 1)
