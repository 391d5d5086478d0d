"""The matrices of one device: which GEMMs a layer runs, after tensor parallelism has cut them.

Every `Gemm` multiplies tokens by a `k x n` matrix. The same list is what memory must hold
and what an iteration must read, so both are computed from it.
"""

from __future__ import annotations

from dataclasses import dataclass

from servetwin.types import AttentionKind, LatentAttention, Model, Parallelism
from servetwin.units import ceil_div

__all__ = [
    "Experts",
    "Gemm",
    "attention_gemms",
    "expert_share",
    "head_gemm",
    "latent_of",
    "local_kv_heads",
    "mlp_gemms",
    "router_gemm",
]


@dataclass(frozen=True)
class Gemm:
    """A `k x n` matrix that `layers` layers have on this device each."""

    name: str
    n: float
    k: float
    layers: int
    quantized: bool = True

    @property
    def elements(self) -> float:
        """Weights of all layers together."""
        return self.n * self.k * self.layers


@dataclass(frozen=True)
class Experts:
    """The routed experts of one layer on one device."""

    count: int
    """How many whole or sliced experts the fullest device holds."""
    total: int
    per_token: int
    inner: float
    """Inner size of each on this device."""
    layers: int


def local_kv_heads(model: Model, tp: int) -> int:
    """KV heads of one device; where there are fewer heads than devices, copies of one."""
    return max(1, model.kv_heads // tp)


def latent_of(model: Model) -> LatentAttention:
    """Shapes of the latent layers; the Model guarantees them where a layer is latent."""
    if model.latent is None:
        raise ValueError(f"{model.name} has no latent attention")
    return model.latent


def attention_gemms(model: Model, tp: int) -> list[Gemm]:
    """Projections of every attention kind that occurs in the model."""
    gemms: list[Gemm] = []
    narrow = "attention" not in model.wide_parts
    classic = model.layers_of(AttentionKind.FULL, AttentionKind.SLIDING)
    if classic:
        queries = model.heads * model.head_dim / tp
        gates = queries if model.attention_gate else 0
        keys = 2 * local_kv_heads(model, tp) * model.head_dim
        gemms += [
            Gemm("qkv", queries + gates + keys, model.hidden_size, classic, narrow),
            Gemm("attention_out", model.hidden_size, queries, classic, narrow),
        ]
    latent = model.layers_of(AttentionKind.LATENT, AttentionKind.SPARSE_LATENT)
    if latent:
        gemms += _latent_gemms(model, latent_of(model), tp, latent)
    sparse = model.layers_of(AttentionKind.SPARSE_LATENT)
    if sparse:
        gemms += _indexer_gemms(model, latent_of(model), sparse)
    linear = model.layers_of(AttentionKind.LINEAR)
    if linear and model.linear_parameters:
        width = model.linear_parameters / model.hidden_size / tp
        gemms.append(Gemm("linear_attention", width, model.hidden_size, linear, narrow))
    return gemms


def _latent_gemms(model: Model, latent: LatentAttention, tp: int, layers: int) -> list[Gemm]:
    hidden, heads = model.hidden_size, model.heads / tp
    queries = heads * (latent.nope_head_dim + latent.rope_head_dim)
    expanded = heads * (latent.nope_head_dim + latent.value_head_dim)
    # The two compressions belong to no head and stay whole on every device.
    narrow = "attention" not in model.wide_parts
    down = latent.kv_lora_rank + latent.rope_head_dim
    gemms = [Gemm("kv_down", down, hidden, layers, narrow)]
    if latent.q_lora_rank is None:
        gemms.append(Gemm("q", queries, hidden, layers, narrow))
    else:
        gemms.append(Gemm("q_down", latent.q_lora_rank, hidden, layers, narrow))
        gemms.append(Gemm("q_up", queries, latent.q_lora_rank, layers, narrow))
    # Prefill expands keys and values with this matrix; decode multiplies queries and
    # outputs by it instead ("absorbed"), which takes the same operations.
    gemms.append(Gemm("kv_up", expanded, latent.kv_lora_rank, layers, narrow))
    gemms.append(Gemm("attention_out", hidden, heads * latent.value_head_dim, layers, narrow))
    return gemms


def _indexer_gemms(model: Model, latent: LatentAttention, layers: int) -> list[Gemm]:
    if latent.index_heads == 0:
        return []
    source = latent.q_lora_rank or model.hidden_size
    narrow = "attention" not in model.wide_parts
    queries, keys = latent.index_heads * latent.index_head_dim, latent.index_head_dim
    return [
        Gemm("index_q", queries, source, layers, narrow),
        Gemm("index_k", keys + latent.index_heads, model.hidden_size, layers, narrow),
    ]


def mlp_gemms(model: Model, tp: int) -> list[Gemm]:
    """Dense MLPs, and the shared experts that every token of a mixture passes through."""
    widths = 2 if model.gated_mlp else 1
    hidden, inner = model.hidden_size, model.intermediate_size / tp
    mixture = model.mixture
    dense = model.layers - (mixture.moe_layers if mixture else 0)
    gemms: list[Gemm] = []
    if dense:
        narrow = "dense_mlp" not in model.wide_parts
        gemms += [
            Gemm("mlp_up", widths * inner, hidden, dense, narrow),
            Gemm("mlp_down", hidden, inner, dense, narrow),
        ]
    if mixture and mixture.shared_size:
        shared = mixture.shared_size / tp
        narrow = "shared_experts" not in model.wide_parts
        gemms += [
            Gemm("shared_up", 2 * shared, hidden, mixture.moe_layers, narrow),
            Gemm("shared_down", hidden, shared, mixture.moe_layers, narrow),
        ]
    return gemms


def router_gemm(model: Model) -> Gemm | None:
    """The router of a mixture, whole on every device and never quantised."""
    mixture = model.mixture
    if mixture is None:
        return None
    return Gemm("router", mixture.experts, model.hidden_size, mixture.moe_layers, quantized=False)


def head_gemm(model: Model, tp: int) -> Gemm:
    """The output projection; it too stays unquantised."""
    return Gemm("head", model.vocab_size / tp, model.hidden_size, 1, quantized=False)


def expert_share(model: Model, parallelism: Parallelism) -> Experts | None:
    """Experts of one layer on one device.

    All `tp * dp` devices of a pipeline stage share them: whole over `ep` devices, and each
    expert's inner size over the rest. Where `ep` does not divide the experts, the device is
    one with an expert more.
    """
    mixture = model.mixture
    if mixture is None:
        return None
    ep = parallelism.ep
    slices = max(1, parallelism.tp * parallelism.dp // ep)
    return Experts(
        count=ceil_div(mixture.experts, ep),
        total=mixture.experts,
        per_token=mixture.experts_per_token,
        inner=mixture.expert_size / slices,
        layers=mixture.moe_layers,
    )
