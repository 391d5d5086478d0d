"""The files of public kernel timings, row by row, as their publishers wrote them."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "AICONFIGURATOR",
    "LAYER_PROFILES",
    "LayerShape",
    "csv_rows",
    "layer_rows",
    "parquet_columns",
    "vidur_rows",
]

AICONFIGURATOR = {"A100": "a100_sxm_vllm0.14.0", "H100": "h100_sxm_vllm0.19.0"}
"""Devices of these kernel tables, and how their files begin."""

LAYER_PROFILES = {"RTX4090": "RTX4090", "RTXPRO6000": "RTXPRO6000"}
"""Devices of the vLLM layer profiles, and their folders."""


@dataclass(frozen=True)
class LayerShape:
    """Shapes of the model whose layers were timed, in elements."""

    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    inter: int
    vocab: int


_SHAPES = {
    "Llama-3.1-8B": LayerShape(4096, 32, 8, 128, 14336, 128256),
    "Qwen3-32B": LayerShape(5120, 64, 8, 128, 25600, 151936),
    "Qwen3-30B-A3B-Instruct-2507": LayerShape(2048, 32, 4, 128, 6144, 151936),
}


def vidur_rows(folder: Path, device: str) -> Iterator[dict[str, str]]:
    """Rows of Vidur's MLP timings of a device, all models."""
    for path in sorted(folder.glob(f"vidur/{device.lower()}_*_mlp.csv")):
        yield from csv_rows(path)


def layer_rows(
    folder: Path, device: str, file: str
) -> Iterator[tuple[LayerShape, int, dict[str, str]]]:
    """Rows of one file of a device's layer profiles, with model shape and tp."""
    for path in sorted(folder.glob(f"vllm_layers/{device}/*/*/bf16/tp*/{file}")):
        shape, tp = _SHAPES[path.parts[-4]], int(path.parts[-2][2:])
        for row in csv_rows(path):
            yield shape, tp, row


def csv_rows(path: Path) -> Iterator[dict[str, str]]:
    """Rows of a CSV file by the names in its head."""
    with path.open(newline="") as file:
        yield from csv.DictReader(file)


def parquet_columns(folder: Path, device: str, kind: str) -> dict[str, NDArray[Any]]:
    """Columns of one kind of kernel (`gemm`, `context_attention`, …) of a device."""
    import pyarrow.parquet as pq

    name = f"{AICONFIGURATOR[device]}_{kind}_perf.parquet"
    table = pq.read_table(folder / "aiconfigurator_kernels" / name)
    return {column: np.asarray(table[column].to_pylist()) for column in table.column_names}
