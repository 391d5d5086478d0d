"""Importer of Vidur's timings: `DEVICE_MODEL_mlp.csv` and `DEVICE_MODEL_attention_tpN.csv`.

Medians in milliseconds, of one layer and one GPU, rounded to a microsecond. Prefill and
decode attention were never timed together.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from servetwin.catalog.names import fold
from servetwin.cost.profiles.gemms import GemmTimings, layer_curves
from servetwin.cost.profiles.grids import continued, fill_grid
from servetwin.cost.profiles.reading import Columns, read_columns
from servetwin.cost.profiles.timings import AttentionTimings, Curve, LayerTimings
from servetwin.errors import InputError
from servetwin.types import Deployment

__all__ = [
    "attention_timings",
    "gemm_timings",
    "has_vidur",
    "joined",
    "read_mlp",
    "read_vidur",
]

Floats = NDArray[np.float64]
MS = 1e-3
SHAPE = ("n_head", "n_kv_head", "n_embd", "n_expanded_embd")
TENSOR = "num_tensor_parallel_workers"
DENSE = {
    "qkv": ("attn_pre_proj",),
    "attention_out": ("attn_post_proj",),
    "mlp_up": ("mlp_up_proj",),
    "mlp_down": ("mlp_down_proj",),
    "activation": ("mlp_act",),
    "rotary": ("attn_rope",),
    "residual": ("add",),
    "norm": ("input_layernorm", "post_attention_layernorm"),
    "embedding": ("emb",),
}
"""Our names and Vidur's; of several the mean is taken."""
ELEMENTWISE = ("activation", "rotary", "residual", "norm", "embedding")


def has_vidur(folder: Path) -> bool:
    """Whether there are timings of Vidur directly in `folder`."""
    return any(folder.glob("*_mlp.csv"))


def read_vidur(deployment: Deployment, folder: Path) -> LayerTimings:
    """Timings of the deployment's model, or for one that was not timed, of its GEMM shapes.

    Raises InputError where the folder has nothing of the device, or only quantised weights
    are wanted.
    """
    paths = _paths(deployment, folder)
    if deployment.settings.weight_dtype not in ("bf16", "fp16"):
        raise InputError(
            f"{folder}: Vidur timed 16-bit weights, not {deployment.settings.weight_dtype}"
        )
    tables = [read_mlp(path) for path in paths]
    attention = _find_attention(deployment, folder)
    tp, device = deployment.parallelism.tp, deployment.accelerator.name
    for path, table in zip(paths, tables, strict=True):
        own = table.where(_is_of(deployment, table))
        if len(own):
            return LayerTimings(
                source=f"Vidur timings {path.name} (tp {tp}) of {device}",
                dense=_dense(own),
                sampled={},
                attention=attention,
            )
    gemms, head = layer_curves(deployment, joined([gemm_timings(table) for table in tables]))
    return LayerTimings(
        source=f"GEMM shapes of Vidur's timings of other models on {device}",
        dense={"gemms": gemms},
        sampled={"head": head},
        attention=attention,
        notes=(f"{deployment.model.name} was not timed: GEMMs are interpolated between shapes",),
    )


def _paths(deployment: Deployment, folder: Path) -> list[Path]:
    device = fold(deployment.accelerator.name)
    paths = sorted(folder.glob("*_mlp.csv"))
    mine = [path for path in paths if device.startswith(path.name.split("_")[0].casefold())]
    if not mine:
        there = ", ".join(sorted({path.name.split("_")[0] for path in paths}))
        raise InputError(
            f"{folder}: no timings of {deployment.accelerator.name}; there are some of: {there}"
        )
    return mine


def read_mlp(path: Path) -> Columns:
    """The columns of a `_mlp.csv` that matter, NaN where nothing was timed."""
    times = [_median(name) for names in DENSE.values() for name in names]
    return read_columns(path, (*SHAPE, TENSOR, "num_tokens", *times), blank=times)


def _median(operation: str) -> str:
    return f"time_stats.{operation}.median"


def _is_of(deployment: Deployment, table: Columns) -> NDArray[np.bool_]:
    model = deployment.model
    shape = (model.heads, model.kv_heads, model.hidden_size, model.intermediate_size)
    same = table.numbers[TENSOR] == deployment.parallelism.tp
    for name, value in zip(SHAPE, shape, strict=True):
        same &= table.numbers[name] == value
    return np.asarray(same)


def _dense(table: Columns) -> dict[str, Curve]:
    curves = {}
    for ours, theirs in DENSE.items():
        seconds = np.mean([table.numbers[_median(name)] for name in theirs], axis=0) * MS
        timed = seconds > 0
        sizes, first = np.unique(table.numbers["num_tokens"][timed], return_index=True)
        if sizes.size >= 2:
            curves[ours] = Curve(sizes, seconds[timed][first])
    return curves


def gemm_timings(table: Columns) -> GemmTimings:
    """All GEMMs of a table of `_mlp.csv` columns, whatever the model."""
    heads, kv_heads, hidden, inner = (table.numbers[name] for name in SHAPE)
    tp, rows = table.numbers[TENSOR], table.numbers["num_tokens"]
    head_dim = hidden / heads
    shapes = {
        "attn_pre_proj": ((heads + 2 * kv_heads) * head_dim / tp, hidden),
        "attn_post_proj": (hidden, hidden / tp),
        "mlp_up_proj": (2 * inner / tp, hidden),
        "mlp_down_proj": (hidden, inner / tp),
    }
    parts = []
    for name, (n, k) in shapes.items():
        seconds = table.numbers[_median(name)] * MS
        parts.append(GemmTimings(rows, n, k, seconds).where(seconds > 0))
    return joined(parts)


def joined(parts: list[GemmTimings]) -> GemmTimings:
    """All timings in one."""
    names = GemmTimings.__dataclass_fields__
    return GemmTimings(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _find_attention(deployment: Deployment, folder: Path) -> AttentionTimings | None:
    model, tp = deployment.model, deployment.parallelism.tp
    device = fold(deployment.accelerator.name)
    for path in sorted(folder.glob(f"*_attention_tp{tp}.csv")):
        if not device.startswith(path.name.split("_")[0].casefold()):
            continue
        table = _read_attention(path)
        shape = {"n_embd": model.hidden_size, "n_q_head": model.heads, "n_kv_head": model.kv_heads}
        if all((table.numbers[name] == value).all() for name, value in shape.items()):
            return _attention(table)
    return None


def _read_attention(path: Path) -> Columns:
    times = (_median("attn_prefill"), _median("attn_decode"))
    numbers = ("n_embd", "n_q_head", "n_kv_head", "batch_size", "prefill_chunk_size")
    return read_columns(path, (*numbers, "kv_cache_size", *times), ("is_prefill",), blank=times)


def attention_timings(path: Path) -> AttentionTimings:
    """Attention of one file, whatever the model."""
    return _attention(_read_attention(path))


def _attention(table: Columns) -> AttentionTimings:
    prefilling = table.labels["is_prefill"] == "True"
    prefill, decode = table.where(prefilling), table.where(~prefilling)
    chunks, done = (np.unique(prefill.numbers[n]) for n in ("prefill_chunk_size", "kv_cache_size"))
    many, contexts = (np.unique(decode.numbers[n]) for n in ("batch_size", "kv_cache_size"))
    grid = fill_grid(
        (chunks, done),
        (prefill.numbers["prefill_chunk_size"], prefill.numbers["kv_cache_size"]),
        prefill.numbers[_median("attn_prefill")] * MS,
    )
    decodes = fill_grid(
        (many, contexts),
        (decode.numbers["batch_size"], decode.numbers["kv_cache_size"]),
        decode.numbers[_median("attn_decode")] * MS,
    )
    try:
        prefills, decodes = continued(grid, chunks, done), continued(decodes, many, contexts)
    except ValueError as error:
        raise InputError(f"{table.path}: the grid has holes: {error}") from None
    return AttentionTimings(chunks, done, many, contexts, prefills, decodes)
