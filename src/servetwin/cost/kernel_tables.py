"""Public kernel timings, read into one shape for each kind of kernel.

Three sources, named by their folders: `aiconfigurator_kernels` (A100, H100 under vLLM),
`vidur` (A100, A40, H100; medians rounded to 1 us) and `vllm_layers` (RTX 4090 and RTX PRO
6000 under vLLM). Only dense 16-bit kernels of the sizes that language models use are
kept: matrices of at least 1024 x 1024, 8 query heads, and up to 8192 rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from servetwin.cost.kernel_files import (
    AICONFIGURATOR,
    LAYER_PROFILES,
    csv_rows,
    layer_rows,
    parquet_columns,
    vidur_rows,
)

__all__ = [
    "AttentionTable",
    "ElementwiseTable",
    "GemmTable",
    "MixtureTable",
    "collective_rows",
    "decode_table",
    "elementwise_table",
    "gemm_table",
    "host_overheads",
    "mixture_table",
    "prefill_table",
    "sampler_rows",
]

Floats = NDArray[np.float64]

MAX_ROWS = 8192
MIN_SIZE = 1024
MIN_HEADS = 8


@dataclass(frozen=True)
class GemmTable:
    """Columns of equal length: rows x k times k x n took `seconds`."""

    rows: Floats
    n: Floats
    k: Floats
    seconds: Floats


@dataclass(frozen=True)
class AttentionTable:
    """Columns of equal length. `tokens` new ones of each sequence, behind `done` cached ones."""

    sequences: Floats
    heads: Floats
    kv_heads: Floats
    head_dim: Floats
    tokens: Floats
    done: Floats
    seconds: Floats


@dataclass(frozen=True)
class ElementwiseTable:
    """Columns of equal length: a kernel that moves `moved` bytes took `seconds`."""

    moved: Floats
    seconds: Floats


@dataclass(frozen=True)
class MixtureTable:
    """Columns of equal length: one grouped pass of all experts of a layer."""

    tokens: Floats
    active_experts: Floats
    seconds: Floats
    hidden_size = 2048
    expert_size = 768
    experts_per_token = 8


def gemm_table(folder: Path, device: str, source: str, dtype: str = "bfloat16") -> GemmTable:
    """GEMM timings of a device from one of the three sources; `folder` holds them all."""
    if source == "aiconfigurator":
        columns = parquet_columns(folder, device, "gemm")
        keep = columns["gemm_dtype"] == dtype
        keep &= (columns["n"] >= MIN_SIZE) & (columns["k"] >= MIN_SIZE)
        keep &= columns["m"] <= MAX_ROWS
        rows, n, k, ms = (columns[c][keep].astype(float) for c in ("m", "n", "k", "latency"))
        return GemmTable(rows, n, k, ms * 1e-3)
    rows_of = _vidur_gemms if source == "vidur" else _layer_gemms
    return GemmTable(*_columns(rows_of(folder, device), 4))


def _vidur_gemms(folder: Path, device: str) -> Iterator[tuple[float, ...]]:
    for row in vidur_rows(folder, device):
        heads, kv_heads, hidden, inter, tp, tokens = _vidur_shape(row)
        head_dim = hidden / heads
        shapes = {
            "attn_pre_proj": ((heads + 2 * kv_heads) * head_dim / tp, hidden),
            "attn_post_proj": (hidden, hidden / tp),
            "mlp_up_proj": (2 * inter / tp, hidden),
            "mlp_down_proj": (hidden, inter / tp),
        }
        for name, (n, k) in shapes.items():
            ms = float(row[f"time_stats.{name}.median"] or 0)
            if ms > 0 and tokens <= MAX_ROWS:
                yield tokens, n, k, ms * 1e-3


def _vidur_shape(row: dict[str, str]) -> tuple[int, int, int, int, int, int]:
    names = ("n_head", "n_kv_head", "n_embd", "n_expanded_embd")
    heads, kv_heads, hidden, inter = (int(row[name]) for name in names)
    return (
        heads,
        kv_heads,
        hidden,
        inter,
        int(row["num_tensor_parallel_workers"]),
        int(row["num_tokens"]),
    )


def _layer_gemms(folder: Path, device: str) -> Iterator[tuple[float, ...]]:
    for shape, tp, row in layer_rows(folder, device, "dense.csv"):
        queries = shape.heads * shape.head_dim / tp
        keys = 2 * shape.kv_heads * shape.head_dim / tp
        shapes = {
            "qkv_proj": (queries + keys, shape.hidden),
            "o_proj": (shape.hidden, queries),
            "gate_up_proj": (2 * shape.inter / tp, shape.hidden),
            "down_proj": (shape.hidden, shape.inter / tp),
        }
        if row["layer"] in shapes and int(row["tokens"]) <= MAX_ROWS:
            yield int(row["tokens"]), *shapes[row["layer"]], float(row["time_us"]) * 1e-6


def decode_table(folder: Path, device: str) -> AttentionTable:
    """Decode attention: one new token of each sequence behind `done` cached ones."""
    if device in AICONFIGURATOR:
        table = _attention_parquet(folder, device, "generation_attention")
        keep = (table.sequences <= 512) & (table.done >= 15)
        return _selected(table, keep)
    rows = (
        (int(row["n_decode"]), shape.heads / tp, shape.kv_heads / tp, shape.head_dim,
         1, int(row["kv_decode"]) - 1, float(row["time_us"]) * 1e-6)
        for shape, tp, row in layer_rows(folder, device, "attention.csv")
        if row["prefill_chunk"] == "0" and int(row["n_decode"]) > 0
    )  # fmt: skip
    return AttentionTable(*_columns(rows, 7))


def prefill_table(folder: Path, device: str) -> AttentionTable:
    """Prefill attention of chunks of at least 128 tokens, whose tiles are full."""
    if device in AICONFIGURATOR:
        table = _attention_parquet(folder, device, "context_attention")
        return _selected(table, table.tokens >= 128)
    rows = (
        (1, shape.heads / tp, shape.kv_heads / tp, shape.head_dim,
         int(row["prefill_chunk"]), int(row["kv_prefill"]), float(row["time_us"]) * 1e-6)
        for shape, tp, row in layer_rows(folder, device, "attention.csv")
        if row["n_decode"] == "0" and int(row["prefill_chunk"]) >= 128
    )  # fmt: skip
    return AttentionTable(*_columns(rows, 7))


def _attention_parquet(folder: Path, device: str, kind: str) -> AttentionTable:
    columns = parquet_columns(folder, device, kind)
    keep = (columns["kv_cache_dtype"] == "bfloat16") & (columns["head_dim"] == 128)
    if "window_size" in columns:
        keep &= columns["window_size"] == 0
    keep &= columns["num_heads"] >= MIN_HEADS
    keep &= columns["num_heads"] <= 16 * columns["num_key_value_heads"]
    names = ("batch_size", "num_heads", "num_key_value_heads", "head_dim", "isl", "step")
    values = [columns[name][keep].astype(float) for name in names]
    values.append(columns["latency"][keep].astype(float) * 1e-3)
    return AttentionTable(*values)


def _selected(table: AttentionTable, keep: NDArray[np.bool_]) -> AttentionTable:
    columns = {name: getattr(table, name)[keep] for name in AttentionTable.__dataclass_fields__}
    return AttentionTable(**columns)


def elementwise_table(folder: Path, device: str) -> ElementwiseTable:
    """Activation and input norm, from one token to 8192."""
    if device in LAYER_PROFILES:
        rows = _layer_elementwise(folder, device)
    else:
        rows = _vidur_elementwise(folder, device)
    return ElementwiseTable(*_columns(rows, 2))


def _layer_elementwise(folder: Path, device: str) -> Iterator[tuple[float, ...]]:
    for shape, tp, row in layer_rows(folder, device, "dense.csv"):
        # The fused norm also adds the residual: it reads and writes two vectors.
        moved = {"act_fn": 6 * shape.inter / tp, "layernorm": 8.0 * shape.hidden}
        if row["layer"] in moved:
            yield int(row["tokens"]) * moved[row["layer"]], float(row["time_us"]) * 1e-6


def _vidur_elementwise(folder: Path, device: str) -> Iterator[tuple[float, ...]]:
    for row in vidur_rows(folder, device):
        _, _, hidden, inter, tp, tokens = _vidur_shape(row)
        if tokens <= MAX_ROWS:
            yield tokens * 6 * inter / tp, float(row["time_stats.mlp_act.median"]) * 1e-3
            yield tokens * 4 * hidden, float(row["time_stats.input_layernorm.median"]) * 1e-3


def mixture_table(folder: Path) -> MixtureTable:
    """The experts of one Qwen3-30B-A3B layer on the RTX PRO 6000."""
    path = next(folder.glob("vllm_layers/*/*/Qwen3-30B*/bf16/tp1/moe.csv"))
    names = ("tokens", "activated_experts", "time_us")
    tokens, active, us = _columns(
        (tuple(float(row[name]) for name in names) for row in csv_rows(path)), 3
    )
    return MixtureTable(tokens, active, us * 1e-6)


def sampler_rows(folder: Path, device: str) -> tuple[Floats, Floats]:
    """Logits and seconds of the sampler."""
    rows = (
        (int(row["sequences"]) * shape.vocab, float(row["time_us"]) * 1e-6)
        for shape, _, row in layer_rows(folder, device, "per_sequence.csv")
        if row["layer"] == "sampler"
    )
    logits, seconds = _columns(rows, 2)
    return logits, seconds


def collective_rows(folder: Path, device: str, kind: str) -> tuple[Floats, Floats, Floats]:
    """Workers, bytes and seconds of `all_reduce` or `send_recv` within one machine."""
    rows = (
        (int(row["num_workers"]), int(row["size"]),
         float(row[f"time_stats.{kind}.median"]) * 1e-3)
        for row in csv_rows(folder / "vidur" / f"net_{device.lower()}_dgx_{kind}.csv")
        if row["num_workers"] == row["devices_per_node"]
    )  # fmt: skip
    workers, size, seconds = _columns(rows, 3)
    return workers, size, seconds


def host_overheads(folder: Path) -> tuple[Floats, Floats]:
    """Batch size, and seconds of planning, preparing and reporting one iteration (tp 1)."""
    parts = ("SCHEDULE", "PREPARE_INPUTS_E2E", "PROCESS_MODEL_OUTPUTS")
    rows = (
        (int(row["batch_size"]), sum(float(row[f"{part}_MEDIAN"]) for part in parts) * 1e-3)
        for row in csv_rows(folder / "vidur" / "a100_cpu_overheads.csv")
        if row["tensor_parallel_degree"] == "1"
    )
    batch, seconds = _columns(rows, 2)
    return batch, seconds


def _columns(rows: Iterator[tuple[float, ...]], width: int) -> list[Floats]:
    table = np.array(list(rows), dtype=float).reshape(-1, width)
    return list(table.T.copy())
