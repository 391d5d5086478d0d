"""Importer of aiconfigurator's kernel tables: `*gemm_perf`, `*context_attention_perf` and
`*generation_attention_perf`, as Parquet or CSV (which it calls .txt).

Latencies in milliseconds. Prompts were timed without a past, and never together with decodes.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from servetwin.catalog import find_accelerator
from servetwin.cost.profiles.gemms import GemmTimings, layer_curves
from servetwin.cost.profiles.grids import continued, fill_grid, interpolated
from servetwin.cost.profiles.reading import Columns, read_columns
from servetwin.cost.profiles.timings import AttentionTimings, LayerTimings
from servetwin.cost.shapes import local_kv_heads
from servetwin.errors import InputError
from servetwin.types import AttentionKind, Deployment

__all__ = ["attention_rows", "has_kernels", "installed_tables", "kernel_gemms", "read_kernels"]

Floats = NDArray[np.float64]
MS = 1e-3
GEMM, CONTEXT, GENERATION = "gemm_perf", "context_attention_perf", "generation_attention_perf"
ENDINGS = (".parquet", ".txt", ".csv")
PACKAGES = ("aiconfigurator_core", "aiconfigurator")
DTYPES = {"bf16": "bfloat16", "fp16": "bfloat16", "fp8": "fp8"}
"""Ours, and that of the kernels; fp16 runs as fast as bf16."""
ATTENTION = ("batch_size", "isl", "num_heads", "num_key_value_heads", "head_dim", "step")


def has_kernels(folder: Path) -> bool:
    """Whether there are kernel tables in `folder` or below."""
    return next(_gemm_files(folder), None) is not None


def installed_tables() -> Path | None:
    """Folder of an installed aiconfigurator package, found without importing it."""
    for package in PACKAGES:
        found = importlib.util.find_spec(package)
        for place in (found.submodule_search_locations or []) if found else []:
            if has_kernels(Path(place)):
                return Path(place)
    return None


def read_kernels(deployment: Deployment, folder: Path) -> LayerTimings:
    """Timings of a deployment's GEMM and attention shapes.

    Of several sets for the device, the last by name is taken, which is the newest version.
    Raises InputError where there is none, or none for the format of the weights.
    """
    name = deployment.accelerator.name
    sets = [path for path in sorted(_gemm_files(folder)) if _device_of(path) == name]
    if not sets:
        there = ", ".join(sorted({_device_of(path) for path in _gemm_files(folder)}))
        raise InputError(f"{folder}: no kernel tables of {name}; there are some of: {there}")
    path = sets[-1]
    gemms, head = layer_curves(deployment, kernel_gemms(path, deployment.settings.weight_dtype))
    attention = _attention(deployment, path)
    return LayerTimings(
        source=f"aiconfigurator kernel tables {path.name.removesuffix(path.suffix)} of {name}",
        dense={"gemms": gemms},
        sampled={"head": head},
        attention=attention,
    )


def _gemm_files(folder: Path) -> Iterator[Path]:
    for ending in ENDINGS:
        yield from folder.rglob(f"*{GEMM}{ending}")


def _device_of(path: Path) -> str:
    """Catalog name of the device that the first row names, or what the row says."""
    try:
        columns = read_columns(path, ("latency",), ("device",))
    except InputError:
        return path.name
    name = str(columns.labels["device"][0])
    try:
        return find_accelerator(name).name
    except InputError:
        return name


def _beside(gemm: Path, kind: str) -> Path | None:
    """The file of another kind in the same set."""
    for ending in ENDINGS:
        path = gemm.with_name(gemm.name.replace(f"{GEMM}{gemm.suffix}", f"{kind}{ending}"))
        if path.is_file():
            return path
    return None


def kernel_gemms(path: Path, dtype: str) -> GemmTimings:
    """GEMMs of one weight format (ours). Raises InputError where the table has none."""
    table = read_columns(path, ("m", "n", "k", "latency"), ("gemm_dtype",))
    wanted = DTYPES.get(dtype, dtype)
    mine = table.where((table.labels["gemm_dtype"] == wanted) & (table.numbers["latency"] > 0))
    if not len(mine):
        there = ", ".join(sorted(set(table.labels["gemm_dtype"])))
        raise InputError(f"{path}: column 'gemm_dtype': no rows of {wanted}; there are: {there}")
    rows, n, k, latency = (mine.numbers[name] for name in ("m", "n", "k", "latency"))
    return GemmTimings(rows, n, k, latency * MS)


def _attention(deployment: Deployment, gemm: Path) -> AttentionTimings | None:
    """Full attention of the model's heads; None where these were not timed."""
    model, tp = deployment.model, deployment.parallelism.tp
    files = [_beside(gemm, kind) for kind in (CONTEXT, GENERATION)]
    if set(model.attention) != {AttentionKind.FULL} or None in files:
        return None
    heads = model.heads // tp, local_kv_heads(model, tp), model.head_dim
    dtype = deployment.settings.kv_cache_dtype
    context, generation = (attention_rows(path, heads, dtype) for path in files if path)
    context = context.where(context.numbers["batch_size"] == 1)
    if not len(context) or not len(generation):
        return None
    many, contexts, decode = _decodes(generation)
    chunks, first = np.unique(context.numbers["isl"], return_index=True)
    done = np.append(0.0, contexts[contexts >= 16])
    alone = context.numbers["latency"][first] * MS
    return AttentionTimings(
        chunks, done, many, contexts, _behind(alone, chunks, done, decode[0], contexts), decode
    )


def attention_rows(path: Path, heads: tuple[int, int, int], dtype: str) -> Columns:
    """Rows without a window of these query heads, KV heads and head size."""
    table = read_columns(
        path, (*ATTENTION, "latency"), ("kv_cache_dtype",), optional=("window_size",)
    )
    keep = table.labels["kv_cache_dtype"] == DTYPES.get(dtype, dtype)
    wanted = dict(zip(("num_heads", "num_key_value_heads", "head_dim"), heads, strict=True))
    for name, value in wanted.items():
        keep &= table.numbers[name] == value
    if "window_size" in table.numbers:
        keep &= table.numbers["window_size"] == 0
    return table.where(keep)


def _decodes(table: Columns) -> tuple[Floats, Floats, Floats]:
    """Sequences, contexts, and seconds of each combination."""
    context = table.numbers["step"] + 1.0
    many, contexts = np.unique(table.numbers["batch_size"]), np.unique(context)
    points = (table.numbers["batch_size"], context)
    grid = fill_grid((many, contexts), points, table.numbers["latency"] * MS)
    try:
        return many, contexts, continued(grid, many, contexts)
    except ValueError as error:
        raise InputError(f"{table.path}: columns 'batch_size' and 'step': {error}") from None


def _behind(
    alone: Floats, chunks: Floats, done: Floats, single: Floats, contexts: Floats
) -> Floats:
    """Seconds of chunks behind done tokens, from those without any.

    What a chunk takes beyond the launch grows with its query-key pairs; it is never less
    than one decode takes to read as many tokens.
    """
    launch = alone[0]
    pairs = 1.0 + 2.0 * done[None, :] / chunks[:, None]
    work = launch + (alone - launch)[:, None] * pairs
    reach = np.maximum(chunks[:, None] + done[None, :], contexts[0])
    return np.asarray(np.maximum(work, interpolated((contexts,), single, (reach,))))
